import pytest

from alerts.alert import Alert
from tests.unit.alerts.samples import make_alert


@pytest.fixture
def alert() -> Alert:
    """A plain alert."""
    return make_alert()

"""A receiver in Django, in one file.

gunicorn 'ingest.examples.django_app:create_app()'
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .intake import Intake

urlpatterns: list[Any] = []


def create_app(intake: Intake | None = None) -> Callable[..., Any]:
    """The project; without an intake it is configured by CALLWATCH_* variables."""
    found = intake or Intake()
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],  # a signature decides, not a header
        DATA_UPLOAD_MAX_MEMORY_SIZE=found.settings.max_body,
        MIDDLEWARE=[f"{__package__.rpartition('.')[0]}.receivers.django.CallwatchMiddleware"],
        CALLWATCH={"publisher": found.publisher, **found.options()},
    )

    def receive(request: HttpRequest, sender: str) -> HttpResponse:
        try:
            body = request.body
        except RequestDataTooBig:
            body = None
        return HttpResponse(status=found.receive(sender, request.headers, body))

    def healthz(_: HttpRequest) -> HttpResponse:
        return JsonResponse({"status": "ok"})

    urlpatterns[:] = [path("hooks/<str:sender>", csrf_exempt(require_POST(receive)))]
    urlpatterns.append(path("healthz", healthz))
    application: Callable[..., Any] = get_wsgi_application()
    return application

"""Modal: functions and classes that you deployed there, and web endpoints by their URL.

API:      modal 1.6.4 (the SDK, pinned; its gRPC protocol has no promise) and plain HTTP.
Docs:     https://modal.com/docs/sdk/py/latest and https://modal.com/docs/guide (scale, cold-start,
          webhook-timeouts, webhook-proxy-auth, billing; all read 2026-11-23).
Reported: of a call that returns, its id, its container, when it started and ended, and by the
          stamps in those ids when it was made and its container was; the number of containers
          before every call. Of a generator nothing. Usage and more only where the deployed
          function says it (``EXAMPLE.md``). Of a web endpoint what it answers.
Cancels:  a call that returns, by its id; where both are configured, it is taken for a caller who
          wants no stream. A generator never: it goes on, and bills, when its caller has left. A web
          endpoint: Modal does not say; see the option ``cancels``.
Billing:  a container's life, from its start to its end, idle time included, per second and GPU,
          core and GiB; no price is put on a request.
Status:   emulator only.
"""

from providers.modal.options import ModalOptions, ModalSettings
from providers.modal.provider import ModalProvider, plugin

__all__ = ["ModalOptions", "ModalProvider", "ModalSettings", "plugin"]

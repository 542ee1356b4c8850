"""For tests of adapters and of what stands above them; ships with the package.

``ProviderContract`` is the suite every adapter must pass, ``ScriptedProvider`` a provider that
plays scripts. Needs pytest.
"""

from providers.testing.contract_suite import ProviderContract, Setup, Upstream
from providers.testing.scripted import (
    Call,
    ScriptedDeployment,
    ScriptedOptions,
    ScriptedProvider,
    ScriptedSettings,
    Step,
    Until,
    Wait,
)

__all__ = [
    "Call",
    "ProviderContract",
    "ScriptedDeployment",
    "ScriptedOptions",
    "ScriptedProvider",
    "ScriptedSettings",
    "Setup",
    "Step",
    "Until",
    "Upstream",
    "Wait",
]

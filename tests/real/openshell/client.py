"""What OpenShell's users write: the active gateway of the configuration directory, and its health."""

from openshell import SandboxClient

with SandboxClient.from_active_cluster(timeout=20.0) as client:
    health = client.health()
    print(health.status, health.version)

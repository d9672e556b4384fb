"""Names that Tiergarten's resources and their children carry.

Operator, router, chart and tests take them from here, so that none is spelled twice. Changing one
orphans what is already in a cluster.
"""

from typing import Final

GROUP: Final = "tiergarten.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "tiergarten.dev/v1alpha1"

MODEL_TIERS: Final = "modeltiers"
"""Plural of ModelTier, as it stands in URLs and roles."""
TIER_ROUTES: Final = "tierroutes"
"""Plural of TierRoute, as it stands in URLs and roles."""

# Labels of children. A Deployment's selector cannot change, so it is TIER and COMPONENT alone.
TIER: Final = f"{GROUP}/tier"
"""Label: name of the ModelTier that a child belongs to."""
NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"

NAME_VALUE: Final = "tiergarten"
"""Value of NAME on every child."""
SERVER: Final = "server"
"""Value of COMPONENT on what serves: Deployment, pods, Service, EndpointSlices."""
FETCH: Final = "fetch"
"""Value of COMPONENT on what fetches a model: the Job and its pods."""

# Annotations that users write on a ModelTier.
PAUSED: Final = f"{GROUP}/paused"
"""Annotation: "true" stops all writes for the tier."""
REFETCH: Final = f"{GROUP}/refetch"
"""Annotation: any new value fetches the model again."""

# Annotations that the operator writes.
OBJECT_HASH: Final = f"{GROUP}/hash"
"""Annotation: hash of the manifest that was applied last; unchanged means no write."""
TEMPLATE_HASH: Final = f"{GROUP}/template-hash"
"""Annotation: hash of a Deployment's pod template."""
MODEL_HASH: Final = f"{GROUP}/model-hash"
"""Annotation: hash of source, files and refetch value that a Job or Deployment is for."""

# Field managers of server-side apply, and the value of MANAGED_BY.
OPERATOR: Final = "tiergarten-operator"
SCALE_MANAGER: Final = "tiergarten-operator-scale"
"""Applies spec.replicas of a Deployment and nothing else."""

PORT_NAME: Final = "http"
"""Name of llama-server's port in pods, Services and EndpointSlices."""
PORT: Final = 8080
"""Port of llama-server, always passed explicitly: its own default changed between builds."""

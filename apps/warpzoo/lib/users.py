"""Roles that MONAI Label's settings name, as dependencies of routes."""

from __future__ import annotations

from typing import Any

from fastapi import Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))


def is_admin(user: Any) -> bool:
    """Whether a user may see and cancel what is others'."""
    return settings.MONAI_LABEL_AUTH_ROLE_ADMIN in user.roles

"""Parts of the app; what they have to do with registration is in custom_components.serving."""

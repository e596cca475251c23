"""Views for the tokens of `rest_framework.authtoken`, which must be among INSTALLED_APPS."""

"""The login page's form, in the shape that DRF's template `rest_framework/login.html` draws."""

from django import forms


class LoginForm(forms.Form):
    """Only whether both are filled in: who it is, the view awaits."""

    username = forms.CharField(max_length=150, strip=True)
    password = forms.CharField(max_length=4096, strip=False, widget=forms.PasswordInput)

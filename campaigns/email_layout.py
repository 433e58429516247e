"""The one frame around every email: calm, readable on a phone, in the light and in the dark.

Styles that matter stand in the elements (Gmail drops much of `<style>`); `<style>` only adds what
cannot stand there: dark colours and narrow screens. All Liquid here is ours.
"""

import re

FONT = "-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"

_ELEMENTS: dict[str, str] = {
    "<p>": '<p style="margin:0 0 16px">',
    "<ul>": '<ul style="margin:0 0 16px;padding:0 0 0 22px">',
    "<ol>": '<ol style="margin:0 0 16px;padding:0 0 0 22px">',
    "<li>": '<li style="margin:0 0 6px">',
    "<h1>": '<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3;font-weight:650">',
    "<h2>": '<h2 style="margin:24px 0 8px;font-size:17px;line-height:1.4;font-weight:650">',
    "<h3>": '<h3 style="margin:20px 0 8px;font-size:16px;line-height:1.4;font-weight:650">',
    "<blockquote>": '<blockquote class="quote" style="margin:0 0 16px;padding:12px 16px;'
    'border-left:3px solid #2f6f4f;background:#f2f6f3">',
    "<hr>": '<hr class="rule" style="border:0;border-top:1px solid #e3e6e4;margin:24px 0">',
    "<a ": '<a class="link" style="color:#1f6b48;text-decoration:underline" ',
}
_BUTTON = re.compile(r'<p><strong><a href="([^"]*)">(.*?)</a></strong></p>')
_BUTTON_HTML = (
    '<p style="margin:24px 0"><a class="button" href="{target}" style="display:inline-block;padding:12px 22px;'
    'border-radius:8px;background:#1f6b48;color:#ffffff;font-weight:600;text-decoration:none">{words}</a></p>'
)

HEAD = """<!doctype html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{{ organisation.name }}</title>
<style>
:root { color-scheme: light dark; }
@media (max-width: 600px) {
  .page { padding: 0 !important; }
  .card { border-radius: 0 !important; border-left: 0 !important; border-right: 0 !important; }
  .inside { padding: 24px 20px !important; }
  .button { display: block !important; text-align: center !important; }
}
@media (prefers-color-scheme: dark) {
  .page { background: #131614 !important; }
  .card { background: #1c211e !important; border-color: #2c332f !important; }
  .inside, .inside h1, .inside h2, .inside h3 { color: #e6ebe8 !important; }
  .sender { color: #8fd0ae !important; border-color: #2c332f !important; }
  .quote { background: #232a26 !important; border-color: #5cb389 !important; }
  .link { color: #8fd0ae !important; }
  .button { background: #27784f !important; color: #ffffff !important; }
  .rule { border-color: #2c332f !important; }
  .small, .small a { color: #9aa8a0 !important; }
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f4f5f4;-webkit-text-size-adjust:100%">
"""
_PREHEADER_STYLE = "display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;mso-hide:all"
TOP = f"""<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td class="page" align="center" style="padding:32px 12px;background:#f4f5f4">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" class="card"
 style="max-width:580px;background:#ffffff;border:1px solid #e3e6e4;border-radius:14px;border-collapse:separate">
<tr><td class="inside sender" style="padding:20px 32px;border-bottom:1px solid #e3e6e4;color:#1f6b48;
font:650 15px/1.4 {FONT}">{{{{ organisation.name }}}}</td></tr>
<tr><td class="inside" style="padding:28px 32px 16px;color:#1d2420;font:400 16px/1.6 {FONT}">
"""
# Whether it is really from us, who we are, and how to hear no more: under every email, whoever designed the rest.
FOOTER = """{% if code and links.verify %}Is this message really from us? Look up the code
<strong>{{ code }}</strong> at
<a href="{{ links.verify }}" style="color:#68736c">{{ links.verify }}</a>.<br>{% endif %}
{{ organisation.name }}{% if organisation.postal_address %}, \
{{ organisation.postal_address }}{% endif %}<br>
{% if links.unsubscribe %}<a href="{{ links.unsubscribe }}" style="color:#68736c">\
Do not send me messages like this</a>{% endif %}"""
SMALL = f"color:#68736c;font:400 13px/1.6 {FONT}"
BOTTOM = f"""</td></tr>
</table>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:580px">
<tr><td class="inside small" style="padding:18px 32px 0;{SMALL}">
{FOOTER}
</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
"""

TEXT_BOTTOM = """
--
{% if code and links.verify %}Is this message really from us? Look up the code {{ code }} at {{ links.verify }}
{% endif %}{{ organisation.name }}{% if organisation.postal_address %}, \
{{ organisation.postal_address }}{% endif %}
{% if links.unsubscribe %}Do not send me messages like this: {{ links.unsubscribe }}
{% endif %}"""


def in_layout(fragment: str, preheader: str | None, language: str) -> str:
    """Return the whole HTML email, still Liquid, around a cleaned fragment."""
    html = _BUTTON.sub(lambda m: _BUTTON_HTML.format(target=m.group(1), words=m.group(2)), fragment)
    for plain, styled in _ELEMENTS.items():
        html = re.sub(rf"{re.escape(plain)}(?!class=\"button\")", lambda _, s=styled: s, html)  # type: ignore[misc]
    hidden = f'<div style="{_PREHEADER_STYLE}">{preheader}</div>\n' if preheader else ""
    return HEAD.replace("{{ language }}", language) + hidden + TOP + html + BOTTOM

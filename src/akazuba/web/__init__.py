"""The page on the tablet and the doors for other systems, served by the box itself.

`post` is the opened box behind the page; `app` puts the routes together; `guard` and `access` say who may
come in; each area of the page is one module with its routes; `doors` are for programs.
"""

"""Pages for people on the public listener: plain HTML, answered by a form."""

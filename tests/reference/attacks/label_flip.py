"""An attack on labels: what is sent is honest work on wrong ones."""

OPTIONS = [{}]

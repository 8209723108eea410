"""Why the viewing stack cannot do what was asked: one line for a person, with what to do about it."""


class StackProblem(Exception):
    """Its message is shown to the user as it is; `details` (the end of a log) below it, when there are any."""

    def __init__(self, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.msg = msg
        self.details = details

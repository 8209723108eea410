"""`python -m rlm_otel.stack`: the stack's commands alone, and `binaries`, which finds or builds the programs."""

from rlm_otel.stack.cli import main

main(prog_name="python -m rlm_otel.stack")

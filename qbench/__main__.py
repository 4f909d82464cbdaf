from qbench.cli import main

main(prog_name="qbench")

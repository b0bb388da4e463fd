"""The program that spark-submit starts: the command line of hybridspeech. spark-submit only takes a file that ends in .py."""

from hybridspeech.cli import main

main()

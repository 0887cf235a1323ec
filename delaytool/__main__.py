"""python -m delaytool"""

from delaytool.cli import program

if __name__ == "__main__":
    program()

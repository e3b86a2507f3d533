"""Prompts: a file of words with $placeholders."""

from string import Template

from blocks.reading.places import read_text


def read_prompt(prompt_file: str) -> Template:
    """A prompt with $placeholders.

    Raises:
        BadInput: there is no such file.
    """
    return Template(read_text(prompt_file).strip())

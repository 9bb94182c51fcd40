"""Docstrings of the public API: they say what every argument is, and their examples give what they show."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module

import pytest

from neurosim_ep.ep.network import build_network
from neurosim_ep.scenario.load import load_scenario
from neurosim_ep.scheduler.presentation import ep_gradients, free_phase
from neurosim_ep.scheduler.schedule import Schedule
from neurosim_ep.scheduler.unrolled import bptt_gradients
from neurosim_ep.train.result import RunResult
from neurosim_ep.train.resume import resume
from neurosim_ep.train.run import run

DESCRIBED = (RunResult, Schedule, bptt_gradients, build_network, ep_gradients, free_phase, load_scenario, resume, run)
WITH_EXAMPLES = (Schedule, bptt_gradients, build_network, ep_gradients, load_scenario)


@pytest.mark.parametrize("described", DESCRIBED, ids=lambda one: one.__name__)
def test_every_argument_is_described(described: type) -> None:
    text = inspect.getdoc(described) or ""
    arguments = text.split("\nArgs:\n")[1].split("\n\n")[0]
    named = [line.split(":")[0].strip() for line in arguments.splitlines() if line[4] != " "]
    assert named == list(inspect.signature(described).parameters)
    if not isinstance(described, type):
        assert "\nReturns:\n" in text and "\nRaises:\n" in text


@pytest.mark.parametrize("shown", WITH_EXAMPLES, ids=lambda one: one.__name__)
def test_examples_give_what_they_show(shown: type) -> None:
    names = dict(vars(import_module(shown.__module__)))
    (test,) = doctest.DocTestFinder(recurse=False).find(shown, globs=names)
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert result.attempted and not result.failed

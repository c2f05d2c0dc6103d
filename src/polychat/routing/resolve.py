"""What a model's name means: a route of one's own, an alias, ``provider/model``, or a bare name that one backend knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..backends.backend import Backend
from ..backends.listing import listing
from ..backends.registry import Registry
from ..errors import BadInput, MissingPackage, NotReady, UnknownTarget, redact

if TYPE_CHECKING:
    from ..config.settings import Route

IN_ORDER: Mapping[str, Any] = {"strategy": "ordered", "weights": (), "priorities": (), "conditions": ()}
"""The rules of a plan whose members are called one after the other."""
_KNOWN = 4096
"""Names whose meaning is kept; targets may be named without end."""
LONGEST = 256
"""Characters of a name."""
_NEAR = 3
ALL_DOWN = ("refuse", "least-bad")
"""Values of ``all_down`` other than the name of a route."""
_COMPARED = 1024
"""Names of backends' lists that an unknown one is compared with."""


@dataclass(frozen=True, slots=True)
class Target:
    """One backend and one of its models."""

    name: str
    """``provider/model``, as clients may say it."""
    backend: Backend
    label: str
    """The backend's name in lower case."""
    model: str
    """Empty where the backend chooses."""

    def __hash__(self) -> int:
        return hash(self.name)  # a text keeps its hash; that of all four would be worked out each time


@dataclass(frozen=True, slots=True)
class Plan:
    """The targets that may answer, and by which rules."""

    route: str
    """The route's name; empty where a target was named."""
    targets: tuple[Target, ...]
    rules: Route
    """``weights``, ``priorities`` and ``conditions`` are those of ``members``."""
    members: tuple[Target | Plan, ...] = ()
    """The targets, and the plans of routes with targets of their own; empty where it is just ``targets``."""
    unlisted: tuple[str, ...] = ()
    """Bare names among a route's targets that are passed over: no backend that is known lists them, or several do."""
    shadow: Plan | None = None
    """Who gets some of the requests too, where ``rules.shadow`` names a target or a route."""
    otherwise: Plan | None = None
    """What is called while all targets rest, where ``rules.all_down`` names a route."""

    @property
    def strategy(self) -> str:
        """How one of the members is chosen."""
        return self.rules.strategy or "ordered"


class ModelResolver:
    """The names of one registry's configuration. Raises ``BadInput`` for a configuration whose names mean nothing."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._configured = configured = registry.config
        self._direct = configured.gateway.direct.as_route()
        """The rules for a target that is named as such."""
        self._plans: dict[str, Plan] = {}
        self._bare = _bare_names(registry.every())
        self._learnt: dict[str, list[str]] = {}
        """Targets by their model's name alone, of backends whose lists are known."""
        self._patterns = _patterns(configured.aliases)
        for name in configured.routes:
            try:
                self.plan(name)  # a route that means nothing is an error of the file, not of who asks first
            except UnknownTarget as error:
                if not self.may_be_listed(error.asked):
                    raise

    def plan(self, name: str) -> Plan:
        """Raises ``UnknownTarget`` with the nearest names, and ``BadInput`` for a name that means several."""
        plan = self._plans.get(name)
        if plan is None:
            _check_length(name)  # before anything is compared with it or keeps it
            plan = self._meant(name)
            if plan.rules.shadow:
                plan = replace(plan, shadow=self._shadow(plan))
            if plan.rules.all_down not in ALL_DOWN:
                plan = replace(plan, otherwise=self._otherwise(plan))
            if len(self._plans) < _KNOWN:
                self._plans[name] = plan
        return plan

    def _shadow(self, plan: Plan) -> Plan:
        """The plan that ``shadow`` names, called once."""
        field = f"routes.{plan.route}.shadow"
        try:
            meant = self._meant(plan.rules.shadow)
        except BadInput as error:
            raise BadInput(f"{field} must be provider/model or the name of a route: {error}", field=field) from None
        return replace(meant, rules=meant.rules.replace(attempts=1))

    def _otherwise(self, plan: Plan) -> Plan:
        """The plan that ``all_down`` names; that plan's own ``all_down`` does not count."""
        name = plan.rules.all_down
        field = f"routes.{plan.route}.all_down" if plan.route else "gateway.direct.all_down"
        if name not in self._configured.routes:
            known = ", ".join([*ALL_DOWN, *self._configured.routes])
            raise BadInput(f"{field} is {redact(name, 80)!r}; it must be one of {known}", field=field)
        return self._meant(name)

    def may_be_listed(self, name: str) -> bool:
        """Whether a name that means nothing so far may be in the list of a backend that can be asked for it."""
        return bool(name) and not set(name) & set("/:") and self._are_lists

    @cached_property
    def _are_lists(self) -> bool:
        return bool(listing(self._registry))

    def learn(self, targets: Iterable[str]) -> None:
        """What backends list, as ``provider/model``: from here on bare names mean these, in aliases and chains too."""
        learnt: dict[str, list[str]] = {}
        for target in targets:
            learnt.setdefault(target.partition("/")[2], []).append(target)
        if learnt != self._learnt:
            self._learnt = learnt
            self._plans.clear()

    def joined(self, names: Iterable[str]) -> Plan:
        """One plan for several names, each tried when those before it failed. Raises as ``plan``.

        A bare name that could mean several is passed over where it is not alone: the others say who is meant.
        """
        plans: list[Plan] = []
        unclear: BadInput | None = None
        for name in names:
            _check_length(name)
            try:
                plans.append(self.plan(name))
            except UnknownTarget:
                raise
            except BadInput as error:
                unclear = error
        if unclear is not None and not plans:
            raise unclear
        unlisted = tuple(dict.fromkeys(target for plan in plans for target in plan.unlisted))
        first = plans[0]
        joined = _plan(first.route, [_member(plan) for plan in plans], first.rules, unlisted)
        attempts = max(first.rules.attempts or 3, len(joined.targets))
        return replace(joined, rules=first.rules.replace(**IN_ORDER, attempts=attempts))

    def extended(self, plan: Plan, targets: Iterable[Target]) -> Plan:
        """A chain of the plan's own targets that goes on with others; each once, those of ``targets`` first."""
        first = list(dict.fromkeys(targets))
        if not first:
            return plan
        joined = _plan(plan.route, [*first, _member(plan)], plan.rules.replace(**IN_ORDER), plan.unlisted)
        return replace(joined, rules=joined.rules.replace(attempts=max(plan.rules.attempts or 3, len(joined.targets))))

    def listed(self) -> list[str]:
        """The names that are known without asking a backend: routes, aliases, and the models that backends name.

        Those of a backend that lacks an optional package are not among them; a request for one says which it is.
        """
        aliases = [name for name in self._configured.aliases if "*" not in name]
        return list(dict.fromkeys([*self._configured.routes, *aliases, *self._served]))

    @cached_property
    def _served(self) -> list[str]:
        """The models that backends name, of those that can answer here."""
        lacking = {backend.label for backend in self._registry.every() if not backend.is_installed}
        targets = (target for targets in self._bare.values() for target in targets)
        return sorted(target for target in targets if target.partition("/")[0] not in lacking)

    def _meant(self, name: str, *, patterns: bool = True) -> Plan:
        configured = self._configured
        if name in configured.routes:
            return self._route(name)
        if name in configured.aliases:
            return self._aliased(name, patterns=patterns)
        if patterns and (made := self._by_pattern(name)) is not None:
            return self._meant(made, patterns=False)  # once: what a pattern makes may fit a pattern again, without end
        if "/" not in name and (meant := self._bare.get(name) or self._learnt.get(name, [])):
            if len(meant) > 1:
                raise BadInput(f"model {redact(name, 80)!r} is ambiguous: use {' or '.join(meant)}", field="model")
            return Plan("", (self._target(meant[0]),), self._direct)
        return Plan("", (self._target(name),), self._direct)

    def _by_pattern(self, name: str) -> str | None:
        """What the pattern with the most letters of its own makes of a name.

        A pattern without a slash fits only names without one: a client that names a provider means it.
        """
        for begin, end, meant in self._patterns:
            fits = len(name) >= len(begin) + len(end) and name.startswith(begin) and name.endswith(end)
            if fits and ("/" not in name or "/" in begin or "/" in end):
                return meant.replace("*", name[len(begin) : len(name) - len(end)])
        return None

    def _aliased(self, name: str, *, patterns: bool = True) -> Plan:
        meant, seen = name, {name}
        while meant in self._configured.aliases and meant not in self._configured.routes:
            meant = self._configured.aliases[meant]
            if meant in seen:
                raise BadInput(f"the alias {name!r} refers to itself: remove the circle", field=f"aliases.{name}")
            seen.add(meant)
        return self._meant(meant, patterns=patterns)

    def _route(self, name: str, above: tuple[str, ...] = ()) -> Plan:
        if name in above:
            raise BadInput(f"routes.{name} refers to itself: remove the circle", field=f"routes.{name}.targets")
        rules = self._configured.routes[name]
        members: dict[int, Target | Plan] = {}
        unlisted: list[str] = []
        unclear: BadInput | None = None
        for place, meant in enumerate(rules.targets):
            try:
                plan = self._member_plan(meant, name, above)
            except BadInput as error:
                if not self._is_of_lists(error, meant):
                    raise
                unlisted.append(meant)
                unclear = unclear or error
            else:
                unlisted += plan.unlisted
                members[place] = _member(plan)
        if unclear is not None and not members:
            raise unclear
        return _plan(name, list(members.values()), _rules_of(rules, list(members)), tuple(unlisted))

    def _member_plan(self, meant: str, route: str, above: tuple[str, ...]) -> Plan:
        """What ``meant``, a target of ``route``, is: a target, another route, or what an alias leads to."""
        if meant == route and "/" in route:  # a route named like one of its targets means that very target
            return Plan("", (self._target(meant),), self._configured.routes[route])
        return self._route(meant, (*above, route)) if meant in self._configured.routes else self._meant(meant)

    def _is_of_lists(self, error: BadInput, name: str) -> bool:
        """Whether a target means nothing, or several, by what backends list: which changes, and the file does not."""
        if isinstance(error, UnknownTarget):
            return self.may_be_listed(error.asked)
        return name not in self._bare and len(self._learnt.get(name, ())) > 1

    def _target(self, name: str) -> Target:
        try:
            backend, model = self._registry.resolve(name)
        except UnknownTarget:
            unknown = UnknownTarget(f"no model {redact(name, 80)!r}", near=self._near(name))
            unknown.asked = name
            raise unknown from None
        model = model or backend.default_model
        if not backend.offers(model):
            raise UnknownTarget(f"no model {redact(name, 80)!r} is served here", near=self._near(name))
        return Target(f"{backend.label}/{model}" if model else name, backend, backend.label, model)

    def _near(self, name: str) -> tuple[str, ...]:
        names = [*self.listed(), *self._bare, *islice(self._learnt, _COMPARED)]
        near = difflib.get_close_matches(name, names, n=_NEAR)
        if not near and "/" in name:
            near = difflib.get_close_matches(
                name.partition("/")[0], [*self._registry.vendors(), *(entry.partition("/")[0] for entry in names)], n=2
            )
            near = [f"{entry}/{name.partition('/')[2]}" for entry in dict.fromkeys(near)]
        return tuple(redact(entry, 80) for entry in near)


def _member(plan: Plan) -> Target | Plan:
    """What a plan is among the members of another one: a plan only where it has something to choose."""
    return plan.targets[0] if len(plan.targets) == 1 and not plan.rules.conditions else plan


def _rules_of(rules: Route, places: list[int]) -> Route:
    """The rules of a route of whose targets those at ``places`` are left."""
    return rules.replace(
        weights=tuple(rules.weights[place] for place in places) if rules.weights else (),
        priorities=tuple(rules.priorities[place] for place in places) if rules.priorities else (),
        conditions=tuple(rules.conditions[place] for place in places) if rules.conditions else (),
    )


def _plan(route: str, members: list[Target | Plan], rules: Route, unlisted: tuple[str, ...]) -> Plan:
    """Each target once, though several members have it."""
    leaves = [target for member in members for target in (member.targets if isinstance(member, Plan) else (member,))]
    targets = tuple(dict.fromkeys(leaves))
    are_targets = not any(isinstance(member, Plan) for member in members)
    if are_targets and len(targets) < len(members):  # the same one by two names has both weights, and the better priority
        places = [[place for place, leaf in enumerate(leaves) if leaf == target] for target in targets]
        rules = rules.replace(
            weights=tuple(sum(rules.weights[place] for place in same) for same in places) if rules.weights else (),
            priorities=tuple(min(rules.priorities[place] for place in same) for same in places) if rules.priorities else (),
            conditions=tuple(rules.conditions[same[0]] for same in places) if rules.conditions else (),
        )
    if rules.strategy is None:
        rules = rules.replace(strategy="affinity" if serve_one_model(targets) else "ordered")
    return Plan(route, targets, rules, () if are_targets else tuple(members), unlisted)


def serve_one_model(targets: Sequence[Target]) -> bool:
    """Whether targets are one model at several backends: by their names without case and without a vendor before a slash."""
    models = {target.model.rpartition("/")[2].lower() for target in targets}
    return len(targets) > 1 and len(models) == 1 and "" not in models


def _check_length(name: str) -> None:
    if len(name) > LONGEST:
        raise BadInput(f"model has {len(name):,} characters; the limit is {LONGEST}: shorten it", field="model")


def _patterns(aliases: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The text before and after the ``*`` of each pattern, and its target; the longest pattern first."""
    patterns = [(*name.partition("*")[::2], meant) for name, meant in aliases.items() if "*" in name]
    return sorted(patterns, key=lambda pattern: -len(pattern[0]) - len(pattern[1]))


def _bare_names(backends: Iterable[Backend]) -> dict[str, list[str]]:
    """Targets by their model's name alone, of those that are known without asking a backend."""
    targets: dict[str, list[str]] = {}
    for backend in backends:
        if not backend.working:
            continue
        try:
            models = backend.models()
        except (MissingPackage, NotReady):
            continue
        for model in models:
            targets.setdefault(model, []).append(f"{backend.label}/{model}")
    return targets

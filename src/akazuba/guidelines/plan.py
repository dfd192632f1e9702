"""The first step of the plan: what the chart tells one to do at once. No drug, no dose."""

from __future__ import annotations

from akazuba.guidelines.chart import shipped_charts
from akazuba.records import Action, Triage


def first_actions(urgency: Triage) -> tuple[Action, ...]:
    """The charts' immediate actions for a level; the step-3 review only where a step-3 rule fired.

    An unassessed patient gets none: what is missing has to be assessed first.
    """
    fired = {reason.rule for reason in urgency.reasons}
    charts = shipped_charts()
    steps = {rule.step for chart in charts for rule in chart.rules if rule.id in fired}
    return tuple(
        Action(action.action, chart.title, chart.edition, action.clause, chart.review)
        for chart in charts
        for action in chart.actions
        if action.level == urgency.level and (action.step is None or action.step in steps)
    )

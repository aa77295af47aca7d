"""What our dashboards have in common: their look, links and variables, and the two kinds of panels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

TAG = "framemesh"
GOOD, WARN, BAD = "green", "orange", "red"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24  # of Grafana's grid

Steps = Sequence[tuple[float, str]]
"""From which value on which colour holds; below the first all is well."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One number, in the colour of its threshold.

    Attributes:
        title: What it is.
        text: What it means, and what is normal.
        query: In PromQL, of one value.
        unit: Of the value, from Grafana's list.
        steps: When it turns to another colour.
        falling: Whether low values are the bad ones: all is `BAD` below the first step.
    """

    title: str
    text: str
    query: str
    unit: str = units.Short
    steps: Steps = ()
    falling: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Series over time.

    Attributes:
        title: What they are.
        text: What they mean, and what is normal.
        queries: In PromQL, by the name of their series, which may have `{{label}}` in it.
        unit: Of the values.
        steps: Lines across, where they mean something.
        stacked: Whether the series add up to something.
        most: The end of the scale, where there is one.
        opens: The dashboard, and the variable, that a click on a series opens with its label of that name.
    """

    title: str
    text: str
    queries: Mapping[str, str]
    unit: str = units.Short
    steps: Steps = ()
    stacked: bool = False
    most: float | None = None
    opens: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A question, and the panels that answer it."""

    question: str
    panels: Sequence[Stat | Lines]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        name: After `framemesh-`, its id and file name.
        title: For people.
        text: What it is for.
        sections: From the first question to the last.
        variables: What can be chosen, by name: the metric whose label of that name has the choices.
    """

    name: str
    title: str
    text: str
    sections: Sequence[Section]
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """Its id, as in Grafana's URLs."""
        return f"framemesh-{self.name}"

    def build(self) -> Dashboard:
        """As Grafana takes it."""
        made = (
            grafana.Dashboard(f"framemesh / {self.title}")
            .uid(self.uid)
            .description(self.text)
            .tags([TAG])
            .editable()
            .refresh("10s")
            .time("now-30m", "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(
                grafana.DashboardLink("framemesh")
                .type(DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(as_dropdown=True)
                .include_vars(include_vars=True)
                .keep_time(keep_time=True)
            )
            .with_variable(grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        )
        for name, metric in self.variables.items():
            made = made.with_variable(_variable(name, metric))
        top = 0
        for section in self.sections:
            made = made.with_row(grafana.Row(section.question).grid_pos(GridPos(h=1, w=_WIDTH, x=0, y=top)))
            places, top = _places(section.panels, top + 1)
            for panel, place in zip(section.panels, places, strict=True):
                built = _stat(panel) if isinstance(panel, Stat) else _lines(panel)
                made = made.with_panel(built.grid_pos(place))
        return made.build()


def _places(panels: Sequence[Stat | Lines], top: int) -> tuple[list[GridPos], int]:
    """Where panels stand on the grid, from this line on, and the first line below them; numbers share their line."""
    stats = sum(isinstance(panel, Stat) for panel in panels)
    places: list[GridPos] = []
    left = height = 0
    for panel in panels:
        width, tall = (_WIDTH // stats, 4) if isinstance(panel, Stat) else (_WIDTH // 2, 8)
        if left + width > _WIDTH or tall != height:
            top, left, height = top + height, 0, tall
        places.append(GridPos(h=tall, w=width, x=left, y=top))
        left += width
    return places, top + height


def _variable(name: str, metric: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .datasource(_SOURCE)
        .expr(" ".join(expression.split()))
        .legend_format(legend)
        .range()
        .exemplar(exemplar="_bucket" in expression)
    )


def _thresholds(steps: Steps, *, falling: bool = False) -> grafana.ThresholdsConfig:
    below = Threshold(value=None, color=BAD if falling else GOOD)
    return (
        grafana.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([below, *(Threshold(value=value, color=color) for value, color in steps)])
    )


def _stat(panel: Stat) -> stat.Panel:
    return (
        stat.Panel()
        .title(panel.title)
        .description(panel.text)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .thresholds(_thresholds(panel.steps, falling=panel.falling))
        .color_mode(BigValueColorMode.BACKGROUND if panel.steps else BigValueColorMode.NONE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(panel.query, ""))
    )


def _lines(panel: Lines) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.text)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .fill_opacity(30 if panel.stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .thresholds(_thresholds(panel.steps))
    )
    if panel.steps:
        made = made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE))
    if panel.stacked:
        made = made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if panel.most is not None:
        made = made.max(panel.most)
    if panel.opens is not None:
        board, label = panel.opens
        url = f"/d/framemesh-{board}?var-{label}=${{__field.labels.{label}}}&${{__url_time_range}}"
        made = made.data_links([grafana.DashboardLink(f"Open {label}").url(url).type(DashboardLinkType.LINK)])
    for legend, expression in panel.queries.items():
        made = made.with_target(_query(expression, legend))
    return made


def ratio(part: str, whole: str) -> str:
    """A quotient of series with the same labels; 0 where nothing happens."""
    return f"({part}) / clamp_min({whole}, 1e-9)"


def rate(counter: str, *labels: str, only: str = "") -> str:
    """What a counter counts a second, by labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({counter}{{{only}}}[$__rate_interval]))"


def quantile(share_below: float, histogram: str, *labels: str, only: str = "") -> str:
    """A quantile of a histogram over the last moments, by labels; series without observations have none."""
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share_below}, sum by ({by}) (rate({histogram}_bucket{{{only}}}[$__rate_interval])))"

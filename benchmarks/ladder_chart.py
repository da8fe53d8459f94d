"""Draw the ladder of a finished run as an SVG: the picture in the README.

python benchmarks/ladder_chart.py runs/atmacup11 target docs/images/ladder.svg
"""

import argparse
from html import escape
from pathlib import Path

from jigstack.datasets.files import atomic
from jigstack.stacking import Ladder

WIDTH, LEFT, RIGHT, TOP, LINE = 860, 190, 170, 64, 34


def draw(ladder: Ladder, title: str) -> str:
    """One line a rung and a compared task: the score as a dot, its interval as a bar."""
    lines = [(rung.name, rung.nested, rung.low, rung.high, rung.kind) for rung in ladder.rungs]
    lines += [(pair.task, pair.score, pair.score, pair.score, "compared") for pair in ladder.comparisons]
    numbers = [number for line in lines for number in line[1:4]]
    low, high = min(numbers), max(numbers)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    height = TOP + LINE * len(lines) + 18
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="26" font-size="16" font-weight="bold" fill="#1c2430">{escape(title)}</text>',
        f'<text x="20" y="46" fill="#6b7684">nested {ladder.metric}, 95 % group-bootstrap interval; '
        f"{'higher' if ladder.greater_is_better else 'lower'} is better</text>",
    ]
    for number, (name, score, start, end, kind) in enumerate(lines):
        y = TOP + LINE * number + LINE / 2
        colour = {"compared": "#b5543c", "constant": "#8a94a0"}.get(kind, "#1f5f99")
        weight = ' font-weight="bold"' if name == ladder.chosen else ""
        parts += [
            f'<text x="{LEFT - 14}" y="{y + 5}" text-anchor="end" fill="#1c2430"{weight}>{escape(name)}</text>',
            f'<line x1="{x(start)}" x2="{x(end)}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="5" opacity=".35"/>',
            f'<circle cx="{x(score)}" cy="{y}" r="5.5" fill="{colour}"/>',
            f'<text x="{WIDTH - RIGHT + 16}" y="{y + 5}" fill="#1c2430"{weight}>{score:.4f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("stack")
    parser.add_argument("out", type=Path)
    parser.add_argument("--title", default="Era of a painting")
    options = parser.parse_args()
    with atomic(options.out) as temporary:
        temporary.write_text(
            draw(Ladder.read(options.run / "stack" / options.stack), options.title), encoding="utf-8"
        )


if __name__ == "__main__":
    main()

"""Scatter and line plots as SVG files."""

import math
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 70, 150, 20, 50


def _ticks(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]


def plot(path: Path, points: list[tuple[str, float, float]], x_name: str, y_name: str, joined: bool = False) -> None:
    """Points (label, x, y) over a logarithmic x axis; `joined`: with a line through them in their order."""
    low, high = min(x for _, x, _ in points) / 1.3, max(x for _, x, _ in points) * 1.3
    bottom, top = min(y for _, _, y in points), max(y for _, _, y in points)
    margin = (top - bottom) * 0.08 or 1.0
    bottom, top = bottom - margin, top + margin

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - math.log10(low)) / (math.log10(high) - math.log10(low))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - (y - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for tick in _ticks(low, high):
        x, _ = place(tick, bottom)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = bottom + share * (top - bottom)
        _, y = place(low, value)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
    if joined:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(x, y) for _, x, y in points))
        parts.append(f'<polyline fill="none" stroke="#226" points="{line}"/>')
    for label, x_value, y_value in points:
        x, y = place(x_value, y_value)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#226"/><text x="{x + 6:.1f}" y="{y + 4:.1f}">{label}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_name}</text>')
    parts.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">{y_name}</text></svg>')
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")

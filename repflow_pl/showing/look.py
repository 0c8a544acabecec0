"""`repflow look`: a film, or a page, of a video and of the flow in it."""

from __future__ import annotations

from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.files import check_writable
from repflow_pl.showing.fields import TVL1, FlowSource, LearnedLayer, PixelLayer
from repflow_pl.showing.film import FORMATS, film
from repflow_pl.showing.loading import asked_weights
from repflow_pl.showing.options import LookOptions
from repflow_pl.showing.overlay import PAGE, write_html, write_overlays
from repflow_pl.showing.panels import Layout, Panel
from repflow_pl.showing.watch import watching


def look(video: Path, options: LookOptions) -> int:
    """Write the film or the page and say where. Errors: UserError for what the user can mend."""
    out = options.out or Path(f"{video.stem}_flow.mp4")
    known = (*FORMATS, PAGE)
    if out.suffix.lower() not in known:
        raise UserError(f"the name ends in one of {', '.join(known)}, not as {out} does.")
    if out.exists() and video.exists() and out.samefile(video):
        raise UserError(f"{out} is the video itself, which would be lost: name another file.")
    check_writable(out.absolute().parent)
    with watching(
        video,
        lambda rate: sources_of(options, rate),
        options.size,
        options.seconds,
        options.scale,
    ) as watched:
        if out.suffix.lower() == PAGE:
            shown, count = write_overlays(watched, out.with_name(f"{out.stem}_files"))
            write_html(out, "look.html", name=video.name, shown=shown)
        else:
            pairs = zip(watched.sources, watched.scales, strict=True)
            panels = [Panel("video"), *(Panel(source.name, scale) for source, scale in pairs)]
            layout = Layout(panels, watched.size)
            with film(out, watched.rate, layout.shape) as add:
                count = 0
                for seen in watched.seen:
                    count += 1
                    add(layout.picture([seen.frame, *watched.coloured(seen)]))
    print(f"wrote {out}: {count} frames, {', '.join(each.name for each in watched.sources)}")
    return 0


def sources_of(options: LookOptions, rate: float) -> list[FlowSource]:
    """What is shown beside the video. Errors: UserError for weights that cannot be had."""
    sources: list[FlowSource] = [PixelLayer()]
    if options.weights is not None:
        weights = asked_weights(options.weights, options.device, options.iterations, None)
        sources.append(LearnedLayer(weights, rate))
    if not options.no_tvl1:
        sources.append(TVL1())
    return sources

//! Load runs as an SVG: how the latencies of each stage are distributed, and what changes with the number of devices.

use std::path::Path;

use plotters::coord::CoordTranslate;
use plotters::prelude::*;

const FONT: &str = "sans-serif";
/// The least that the logarithmic axis shows.
const LEAST_MS: f64 = 0.1;
/// Lines of the mesh, and those between them.
const MESH: [RGBAColor; 2] = [RGBAColor(0, 0, 0, 0.2), RGBAColor(0, 0, 0, 0.0)];
/// Colours that can be told apart on white, also by most who see few colours.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 60),
];

/// Draws cumulative distributions: one line a stage, ms across, share of turns up.
pub fn distributions(path: &Path, title: &str, stages: &[(String, Vec<f64>)]) -> Result<(), String> {
    let area = SVGBackend::new(path, (900, 520)).into_drawing_area();
    draw(&area, title, stages).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw<'a, B: DrawingBackend + 'a>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    title: &str,
    stages: &[(String, Vec<f64>)],
) -> Result<(), Box<dyn std::error::Error + 'a>>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let all = || stages.iter().flat_map(|(_, values)| values.iter().copied());
    let longest = all().fold(1.0, f64::max);
    let least = all().fold(longest, f64::min);
    // a hang-over that all turns have would leave nothing to see of what they differ in
    let from =
        if least > longest / 2.0 && all().next().is_some() { least - (longest - least).max(1.0) / 4.0 } else { 0.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(from..longest + (longest - from) * 0.05, 0.0..1.0)?;
    chart
        .configure_mesh()
        .bold_line_style(MESH[0])
        .light_line_style(MESH[1])
        .x_desc("ms after the end of speech")
        .y_desc("share of turns")
        .x_label_formatter(&|ms| format!("{ms:.0}"))
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .draw()?;
    for (at, (stage, values)) in stages.iter().enumerate() {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len().max(1) as f64;
        let first = sorted.first().map(|ms| (*ms, 0.0));
        let points = first.into_iter().chain(sorted.iter().enumerate().map(|(n, ms)| (*ms, (n + 1) as f64 / count)));
        let color = COLORS[at % COLORS.len()];
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(stage)
            .legend(move |at| key(at, color.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    area.present()?;
    Ok(())
}

/// A line in the legend as it is drawn.
fn key(at: (i32, i32), style: ShapeStyle) -> PathElement<(i32, i32)> {
    PathElement::new([at, (at.0 + 20, at.1)], style)
}

/// Draws the names of the lines over them.
fn legend<'a, 'b: 'a, B: DrawingBackend + 'b, C: CoordTranslate>(
    chart: &mut ChartContext<'b, B, C>,
    at: SeriesLabelPosition,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    chart.configure_series_labels().position(at).background_style(WHITE.mix(0.8)).border_style(BLACK).draw()
}

/// What changes with the number of devices, or of people who talk.
#[derive(Debug, Clone, Default)]
pub struct Curves {
    /// Above both charts.
    pub title: String,
    /// What goes across.
    pub across: String,
    /// Lines of (number, ms).
    pub ms: Vec<Line>,
    /// What no line should be above, ms, and why.
    pub bar: (f64, String),
    /// Lines of (number, something else).
    pub below: Vec<Line>,
    /// What that is.
    pub below_name: String,
}

/// A name and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// Draws two charts, one above the other, against one number: milliseconds (logarithmic, with a bar) and something else.
pub fn ladder(path: &Path, curves: &Curves) -> Result<(), String> {
    let area = SVGBackend::new(path, (900, 760)).into_drawing_area();
    draw_ladder(&area, curves).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_ladder<'a, B: DrawingBackend + 'a>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    curves: &Curves,
) -> Result<(), Box<dyn std::error::Error + 'a>>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let most = |lines: &[Line], at: fn(&(f64, f64)) -> f64| {
        lines.iter().flat_map(|(_, points)| points.iter().map(at)).fold(0.0, f64::max)
    };
    let devices = 0.0..most(&curves.ms, |point| point.0).max(1.0) * 1.04;
    let (upper, lower) = area.titled(&curves.title, (FONT, 20))?.split_vertically(430);

    let (bar_ms, why) = (curves.bar.0, curves.bar.1.clone());
    let longest = most(&curves.ms, |point| point.1).max(bar_ms) * 1.6;
    // as low as the lowest line wants, by whole decades
    let lowest = curves.ms.iter().flat_map(|(_, points)| points.iter().map(|point| point.1)).fold(longest, f64::min);
    let least = 10_f64.powf(lowest.max(LEAST_MS).log10().floor());
    let mut chart = ChartBuilder::on(&upper)
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(devices.clone(), (least..longest).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(MESH[0])
        .light_line_style(MESH[1])
        .y_desc("ms")
        .x_label_formatter(&|devices| format!("{devices:.0}"))
        .y_label_formatter(&|ms| format!("{ms}"))
        .draw()?;
    let bar = [(0.0, bar_ms), (devices.end, bar_ms)];
    chart
        .draw_series(DashedLineSeries::new(bar, 6, 4, BLACK.stroke_width(1)))?
        .label(why)
        .legend(|at| key(at, BLACK.stroke_width(1)));
    for (at, (name, points)) in curves.ms.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        // a logarithm of nothing cannot be drawn
        let points = points.iter().map(|(devices, ms)| (*devices, ms.max(least)));
        chart
            .draw_series(LineSeries::new(points, color.filled().stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |at| key(at, color.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;

    let highest = most(&curves.below, |point| point.1).max(0.1) * 1.25;
    let mut chart = ChartBuilder::on(&lower)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(devices, 0.0..highest)?;
    chart
        .configure_mesh()
        .bold_line_style(MESH[0])
        .light_line_style(MESH[1])
        .x_desc(&curves.across)
        .y_desc(&curves.below_name)
        .x_label_formatter(&|devices| format!("{devices:.0}"))
        .y_label_formatter(&|value| if highest < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") })
        .draw()?;
    for (at, (name, points)) in curves.below.iter().enumerate() {
        let color = COLORS[(at + 4) % COLORS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.filled().stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |at| key(at, color.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    area.present()?;
    Ok(())
}
/// What happened against time.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// Above both charts.
    pub title: String,
    /// Lines of (seconds, height) of the upper chart.
    pub upper: Vec<Line>,
    /// Points of (seconds, ms) of the lower chart.
    pub points: Vec<(f64, f64)>,
    /// From when to when what was, in both.
    pub marked: Vec<(f64, f64, String)>,
}

/// Draws two charts, one above the other, against time: lines, and milliseconds (logarithmic).
pub fn timeline(path: &Path, timeline: &Timeline) -> Result<(), String> {
    let area = SVGBackend::new(path, (1_200, 820)).into_drawing_area();
    draw_timeline(&area, timeline).map_err(|error| format!("{}: {error}", path.display()))
}

fn draw_timeline<'a, B: DrawingBackend + 'a>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    timeline: &Timeline,
) -> Result<(), Box<dyn std::error::Error + 'a>>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let last = timeline.upper.iter().flat_map(|(_, points)| points.iter().map(|point| point.0)).fold(1.0, f64::max);
    let seconds = 0.0..timeline.points.iter().map(|point| point.0).fold(last, f64::max);
    let (upper, lower) = area.titled(&timeline.title, (FONT, 20))?.split_vertically(400);
    let shade = RGBColor(213, 94, 0).mix(0.12).filled();

    let mut chart = ChartBuilder::on(&upper)
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(64)
        .build_cartesian_2d(seconds.clone(), 0.0..6.2)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(MESH[0])
        .light_line_style(MESH[1])
        .draw()?;
    chart.draw_series(timeline.marked.iter().map(|(from, to, _)| Rectangle::new([(*from, 0.0), (*to, 4.1)], shade)))?;
    let written = timeline.marked.iter().enumerate();
    chart.draw_series(written.map(|(n, (from, _, what))| {
        let height = if n % 2 == 0 { 4.45 } else { 4.2 };
        Text::new(what.clone(), (*from, height), (FONT, 11))
    }))?;
    for (at, (name, points)) in timeline.upper.iter().enumerate() {
        let color = COLORS[at % COLORS.len()];
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(name)
            .legend(move |at| key(at, color.stroke_width(2)));
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;

    let longest = timeline.points.iter().map(|point| point.1).fold(100.0, f64::max) * 1.6;
    let least = timeline.points.iter().map(|point| point.1).fold(longest, f64::min).max(1.0) / 1.5;
    let mut chart = ChartBuilder::on(&lower)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(seconds, (least..longest).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(MESH[0])
        .light_line_style(MESH[1])
        .x_desc("seconds")
        .y_desc("ms to the first sound")
        .y_label_formatter(&|ms| format!("{ms:.0}"))
        .draw()?;
    chart.draw_series(
        timeline.marked.iter().map(|(from, to, _)| Rectangle::new([(*from, least), (*to, longest)], shade)),
    )?;
    chart.draw_series(timeline.points.iter().map(|point| Circle::new(*point, 2, COLORS[0].mix(0.6).filled())))?;
    area.present()?;
    Ok(())
}

//! A load run as an SVG: how the latencies of each stage are distributed.

use std::path::Path;

use plotters::prelude::*;

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
    let longest = stages.iter().flat_map(|(_, values)| values.iter().copied()).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..longest * 1.05, 0.0..1.0)?;
    chart.configure_mesh().x_desc("ms after the end of speech").y_desc("share of turns").draw()?;
    for (at, (stage, values)) in stages.iter().enumerate() {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len().max(1) as f64;
        let points = sorted.iter().enumerate().map(|(n, ms)| (*ms, (n + 1) as f64 / count));
        let color = Palette99::pick(at).to_rgba();
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(stage)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

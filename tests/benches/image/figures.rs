//! Repeated measurements by turns, and their table.

use crate::Result;
use system_tests::contest::median;

/// Measured turns, after one that is not counted.
pub(crate) const TURNS: usize = 11;

type Measure<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Ways that are measured by turns, so that whatever else the machine does meets all alike. The first is what ratios refer to.
#[derive(Default)]
pub(crate) struct Ways<'a> {
    ways: Vec<(String, Measure<'a>, Vec<f64>)>,
}

impl<'a> Ways<'a> {
    pub(crate) fn add(&mut self, name: impl Into<String>, measure: impl FnMut() -> Result<f64> + 'a) {
        self.ways.push((name.into(), Box::new(measure), Vec::new()));
    }

    /// Measures, prints a line for each, and returns the medians.
    pub(crate) fn measure(mut self, title: &str, unit: &str) -> Result<Vec<f64>> {
        println!("\n{title}: median of {TURNS} turns in {unit}, least to greatest, times the first");
        for turn in 0..=TURNS {
            for (name, measure, figures) in &mut self.ways {
                let figure = measure().map_err(|error| format!("{name}: {error}"))?;
                if turn > 0 {
                    figures.push(figure);
                }
            }
        }
        let mut medians: Vec<f64> = Vec::new();
        for (name, _, figures) in self.ways {
            let least = figures.iter().copied().fold(f64::NAN, f64::min);
            let greatest = figures.iter().copied().fold(f64::NAN, f64::max);
            let median = median(figures);
            let ratio = median / medians.first().copied().unwrap_or(median);
            println!(
                "  {name:<56} {median:>9.2} {:>20} {ratio:>7.2}",
                format!("{least:.2} to {greatest:.2}")
            );
            medians.push(median);
        }
        Ok(medians)
    }
}

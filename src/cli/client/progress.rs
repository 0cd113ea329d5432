//! What a waiting person sees: a spinner or a bar on a terminal, one line a step elsewhere. All on stderr.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal, time::Duration};

const SPINNER: &str = "{spinner} {msg} ({elapsed})";
const BAR: &str = "{spinner} {msg} {bar:24} {percent} % ({elapsed})";
/// Length of the bar in its own units.
const WHOLE: u64 = 1000;
const FRAME: Duration = Duration::from_millis(100);

pub enum Progress {
    Spinner(ProgressBar),
    Lines(String),
    Silent,
}

impl Progress {
    pub fn begin(title: &str, silent: bool) -> Progress {
        if silent {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            let mut lines = Progress::Lines(String::new());
            lines.step(title);
            return lines;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_length(WHOLE);
        dress(&bar, SPINNER);
        bar.set_message(title.to_owned());
        bar.enable_steady_tick(FRAME);
        Progress::Spinner(bar)
    }

    pub fn step(&mut self, step: &str) {
        match self {
            Progress::Spinner(bar) => bar.set_message(step.to_owned()),
            Progress::Lines(last) if last != step => {
                eprintln!("{step}");
                step.clone_into(last);
            }
            Progress::Lines(_) | Progress::Silent => {}
        }
    }

    /// How much of the whole is done (0 to 1), where that is known.
    pub fn share(&mut self, share: Option<f64>) {
        let Progress::Spinner(bar) = self else { return };
        dress(bar, if share.is_some() { BAR } else { SPINNER });
        bar.set_position((share.unwrap_or(0.0).clamp(0.0, 1.0) * WHOLE as f64) as u64);
    }
}

fn dress(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Progress::Spinner(bar) = self {
            bar.finish_and_clear();
        }
    }
}

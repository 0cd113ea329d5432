//! What a waiting person sees: a spinner on a terminal, one line a step elsewhere. All on stderr.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io::IsTerminal, time::Duration};

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
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
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
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Progress::Spinner(bar) = self {
            bar.finish_and_clear();
        }
    }
}

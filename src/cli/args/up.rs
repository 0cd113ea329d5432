//! `zlh up`.
use super::LogFormat;
use clap::Args;
use std::{net::SocketAddr, path::PathBuf};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Up options")]
pub struct UpArgs {
    /// Folder of everything [default: ~/.local/share/zlh, for root /var/lib/zlh]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of API and portal; browser IDEs are on the next port, the editor behind them on the one after
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// One setting of the gateway; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub log_format: LogFormat,
}

//! `steady CLIENTS PACE_MS NAME,keep|new,HOST:PORT,PATH[,HOST]…`: a steady HTTP load until its input
//! is closed; then the accounts of all streams as JSON.

use std::process::ExitCode;

fn main() -> ExitCode {
    match skiff_tests::steady::run(std::env::args().skip(1)) {
        Ok(accounts) => {
            println!("{accounts}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("steady: {why}");
            ExitCode::from(2)
        }
    }
}

//! What a process says.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

/// The lines of an output so far. More come while the process runs. Once nobody has the lines any more,
/// the output is closed at its next line.
pub fn of(output: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if Arc::strong_count(&kept) == 1 {
                break;
            }
            kept.lock().unwrap().push(line);
        }
    });
    lines
}

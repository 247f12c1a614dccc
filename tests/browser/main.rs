//! The web page in a real Chromium, steered through chromedriver, against the whole program.
//!
//! They need `chromium` and `chromedriver`; without these they are ignored, and say so. In CI they
//! are never ignored, but for `pictures`, which writes screenshots where `LANEKEEPER_SCREENSHOTS`
//! names a folder for them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that can't go on has failed, and says what is skipped and what it measured"
)]

#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/ports.rs"]
mod ports;
#[path = "../shared/trial.rs"]
mod trial;
#[path = "../shared/wait.rs"]
mod wait;

mod browser;
mod hostile;
mod large;
mod live;
mod manifests;
mod pictures;
mod planner;
mod reference;
mod server;

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each has a browser: more at a time only slow each other down.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2).min(2));
    let missing = browser::missing();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "CI needs {missing:?}");
    if !missing.is_empty() {
        eprintln!("there is no {}: tests of the web page are skipped", missing.join(", no "));
    }
    let able = missing.is_empty();
    let pictured = pictures::folder().is_some();
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    macro_rules! trials {
        ($($module:ident :: $test:ident),* $(,)?) => {
            vec![$(trial::of(
                concat!(stringify!($module), "::", stringify!($test)),
                $module::$test,
            )
            .with_ignored_flag(!able || (stringify!($module) == "pictures" && !pictured))),*]
        };
    }
    let trials = trials![
        hostile::what_others_wrote_is_shown_as_text,
        large::a_thousand_hosts_scroll_and_are_filtered,
        live::a_change_is_shown_without_a_reload_and_a_restart_survived,
        pictures::every_page_is_photographed,
        planner::a_new_network_config_from_the_cluster_network_to_the_yaml,
        planner::a_change_that_would_cut_running_vms_off_is_refused,
        reference::a_cell_of_the_matrix_tells_its_cause_to_the_keyboard,
        reference::a_vm_lists_the_hosts_where_it_can_run_and_why_not_elsewhere,
        reference::a_vm_whose_vmi_is_older_than_its_change_says_so,
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

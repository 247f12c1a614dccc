//! Against a real control plane: etcd, kube-apiserver and kube-scheduler, each test its own.
//!
//! They need Go, to build the control plane; without it they are ignored, and say so. In CI they
//! are never ignored, but for those of `large` and `throughput`,
//! which are run by hand.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::too_many_lines,
    reason = "a test that can't go on has failed, tells a story, and says what is skipped"
)]

#[path = "../shared/lines.rs"]
mod lines;
#[path = "../shared/ports.rs"]
mod ports;
#[path = "../shared/trial.rs"]
mod trial;
#[path = "../shared/wait.rs"]
mod wait;

mod access;
mod admission;
mod certificates;
mod cleanup;
mod clients;
mod controller;
mod definitions;
mod doctor;
mod fixture;
mod harvester;
mod installation;
mod kustomize;
mod large;
mod objects;
mod page;
mod protection;
mod readme;
mod replicas;
mod scheduling;
mod source;
mod throughput;
mod waking;

use libtest_mimic::Arguments;

/// Whether these are run by hand only.
fn is_large(module: &str) -> bool {
    matches!(module, "large" | "throughput")
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Each has a control plane: more at a time only slow each other down.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2).min(2));
    let large = std::env::var_os("LANEKEEPER_LARGE").is_some();
    let able = arguments.list || fixture::build();
    assert!(able || std::env::var_os("CI").is_none(), "CI needs Go");
    if !able {
        eprintln!("there is no Go: tests against a live cluster are skipped");
    }
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    macro_rules! trials {
        ($($module:ident :: $test:ident),* $(,)?) => {
            vec![$(trial::of(
                concat!(stringify!($module), "::", stringify!($test)),
                $module::$test,
            )
            .with_ignored_flag(!able || (is_large(stringify!($module)) && !large))),*]
        };
    }
    let trials = trials![
        access::every_document_passes_strict_validation,
        access::objects_in_harvesters_shape_are_kept_as_they_are,
        access::the_account_can_do_no_harm,
        access::every_right_to_read_is_needed,
        access::every_right_to_write_is_needed,
        admission::changes_are_refused_while_a_vm_runs,
        admission::what_was_made_a_moment_ago_counts,
        admission::what_no_watch_has_told_is_read_afresh,
        admission::one_file_brings_a_whole_network,
        admission::a_vm_gets_its_affinity_and_a_host_keeps_its_labels,
        admission::an_outage_holds_up_only_what_could_cut_vms_off,
        certificates::an_installation_makes_its_own_certificates,
        certificates::nobody_notices_that_the_leaf_is_rotated,
        certificates::the_ca_changes_in_three_steps,
        cleanup::nothing_of_ours_is_left,
        clients::clients_with_a_certificate_are_answered,
        clients::clients_without_one_get_401_and_cause_no_read,
        controller::labels_and_conditions_follow_the_network_configs,
        controller::installed_at_once_into_an_empty_cluster,
        controller::a_vm_without_its_network_gets_one_event,
        definitions::bond_options_are_kept_and_wrong_ones_refused,
        definitions::host_networks_are_kept_and_wrong_ones_refused,
        definitions::a_host_network_counts_once_its_kind_is_served,
        doctor::an_installation_as_it_is_printed_passes,
        doctor::each_fault_of_an_installation_is_found,
        doctor::what_the_scheduler_lacks_is_found,
        harvester::nothing_of_ours_fights_harvesters_controllers,
        kustomize::a_real_kustomize_builds_what_is_printed,
        installation::every_overlay_passes_strict_validation,
        installation::a_pod_of_ours_passes_the_strictest_standard,
        installation::replicas_are_spread_over_hosts_where_there_are_some,
        installation::a_second_scheduler_places_the_vms_that_name_it,
        installation::a_scheduler_on_its_host_calls_an_address_and_checks_the_services_name,
        large::pods_land_among_5_000_hosts,
        large::all_of_15_000_hosts_are_relabelled,
        page::what_it_plans_is_what_the_api_server_takes,
        protection::a_network_that_only_a_new_launcher_pod_names_is_looked_up,
        protection::a_move_to_another_cluster_protects_the_source_alone,
        protection::a_finalizer_is_set_whatever_else_is_wrong_and_nothing_is_read,
        readme::the_commands_for_a_cluster_work_as_they_stand,
        replicas::either_of_two_replicas_may_die,
        replicas::an_update_of_both_replicas_is_not_noticed,
        scheduling::pods_land_where_their_networks_are,
        scheduling::nobody_is_evicted_in_vain,
        source::kinds_that_come_later_are_awaited,
        source::decisions_are_right_again_after_the_api_server_was_away,
        source::an_object_of_a_plan_is_in_the_namespace_of_the_context,
        throughput::pods_per_second,
        waking::waiting_pods_run_seconds_after_they_can,
        waking::a_pod_whose_sample_missed_its_host_is_sent_there,
        waking::nothing_is_touched_in_vain,
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

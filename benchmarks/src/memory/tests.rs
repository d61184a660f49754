use super::*;

#[test]
fn the_status_file_of_linux_is_read_in_bytes() {
    let status = "Name:\tpolder\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
    assert_eq!(parse(status, "VmRSS"), Some(1024 * 1024));
    assert_eq!(parse(status, "VmHWM"), Some(2048 * 1024));
    assert_eq!(parse(status, "Vm"), None);
}

#[test]
fn this_process_holds_some_memory() {
    assert!(resident_now(std::process::id()).unwrap() > 1024 * 1024);
}

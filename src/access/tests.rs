//! Rights as they add up.

use super::*;
use std::collections::BTreeSet;

fn table(name: &str) -> Object {
    Object::Table { catalog: "shop".to_string(), schema: "public".to_string(), table: name.to_string() }
}

fn grant(privilege: Privilege, object: Object) -> Grant {
    Grant { privilege, object, columns: None }
}

#[test]
fn what_is_not_given_is_not_there() {
    let mut roles = Roles::default();
    roles.roles.insert("ana".to_string(), Role { login: true, ..Role::default() });
    roles.check("ana", Privilege::Select, &table("orders")).unwrap_err();
    roles.check("ghost", Privilege::Select, &table("orders")).unwrap_err();
    roles.check(LOCAL, Privilege::Select, &table("orders")).unwrap();
    let everybody = Role { grants: vec![grant(Privilege::Select, table("orders"))], ..Role::default() };
    roles.roles.insert(EVERYBODY.to_string(), everybody);
    roles.check("ana", Privilege::Select, &table("orders")).unwrap();
    roles.check("ana", Privilege::Insert, &table("orders")).unwrap_err();
    roles.check("ana", Privilege::Select, &table("others")).unwrap_err();
}

#[test]
fn rights_come_by_membership_and_from_what_is_around() {
    let mut roles = Roles::default();
    let catalog = Object::Catalog { catalog: "shop".to_string() };
    let group = Role { grants: vec![grant(Privilege::Select, catalog)], ..Role::default() };
    roles.roles.insert("readers".to_string(), group);
    roles.roles.insert("staff".to_string(), Role { member_of: ["readers".to_string()].into(), ..Role::default() });
    roles.roles.insert("ana".to_string(), Role { member_of: ["staff".to_string()].into(), ..Role::default() });
    roles.check("ana", Privilege::Select, &table("orders")).unwrap();
    assert_eq!(roles.members(&["readers"].into()), BTreeSet::from(["ana", "readers", "staff"]));
    roles.forget(&Object::Catalog { catalog: "shop".to_string() });
    roles.check("ana", Privilege::Select, &table("orders")).unwrap_err();
}

#[test]
fn where_there_are_filters_who_has_none_sees_no_row() {
    let mut roles = Roles::default();
    let reads = || Role { grants: vec![grant(Privilege::Select, table("orders"))], ..Role::default() };
    for name in ["ana", "ben"] {
        roles.roles.insert(name.to_string(), reads());
    }
    let rule = Rule::Filter { condition: "region = 1".to_string() };
    let policy = Policy { name: "p".to_string(), table: table("orders"), roles: ["ana".to_string()].into(), rule };
    roles.policies.push(policy);
    let of_ana = roles.sight("ana", &table("orders")).unwrap();
    assert_eq!(of_ana.filters, Some(vec!["region = 1".to_string()]));
    assert_eq!(roles.sight("ben", &table("orders")).unwrap().filters, Some(Vec::new()));
    assert!(roles.sight(LOCAL, &table("orders")).unwrap().is_whole());
}

#[test]
fn logins_that_fail_wait_longer_each_time_up_to_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access::open(directory.path()).unwrap();
    let waits: Vec<_> = (0..12).map(|_| access.failures.count("ana")).collect();
    assert!(waits.is_sorted() && waits[0] < waits[3]);
    assert_eq!(waits[10], waits[11]);
    assert_eq!(access.failures.count("ben"), waits[0]);
    access.succeeded("ana");
    assert_eq!(access.failures.count("ana"), waits[0]);
    for user in 0..20_000 {
        access.failures.count(&user.to_string());
    }
}

#[test]
fn what_is_kept_is_read_again_and_damage_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access::open(directory.path()).unwrap();
    let change = |roles: &mut Roles| {
        roles.roles.insert("ana".to_string(), Role { login: true, ..Role::default() });
        Ok(())
    };
    access.change(change).unwrap();
    let file = directory.path().join("access.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Access::open(directory.path()).unwrap().roles(), access.roles());
    for damaged in ["", "{}", r#"{"format": 1, "access": {}}"#, r#"{"format": 9}"#] {
        std::fs::write(&file, damaged).unwrap();
        Access::open(directory.path()).unwrap_err();
    }
}

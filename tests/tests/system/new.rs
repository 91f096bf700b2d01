//! `just new`: the crate of an appliance outside of this workspace, as its user has it: written, built, booted.

use crate::context::{Alone, Context, Outcome, trial};
use guest_interface::status::VmmStatus;
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use system_tests::artifact::{target_dir, workspace};
use system_tests::disk::tool;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

/// For a build of the kernel, its dependencies and an appliance, by a machine that does something else, too.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [Alone; 4] = [
        ("new/three_files_boot_on_every_host", three_files_boot_on_every_host),
        ("new/cargo_run_boots_with_arguments", cargo_run_boots_with_arguments),
        ("new/crate_that_does_not_build", crate_that_does_not_build),
        ("new/refusals_are_one_line", refusals_are_one_line),
    ];
    let no_lane = context.lanes.present().next().is_none();
    let on_hosts = |name: &str| no_lane && !name.ends_with("one_line");
    tests.map(|(name, test)| trial(name, move || test(context)).with_ignored_flag(on_hosts(name))).into()
}

/// A crate that `just new` has made. Each has a name of its own, by which what is built of it is told apart.
struct NewCrate {
    path: PathBuf,
    _folder: TempDir,
}

impl NewCrate {
    fn make(name: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::start)?;
        end(just(folder.path(), "new").arg(name))?.status(0)?;
        Ok(Self { path: folder.path().join(name), _folder: folder })
    }

    /// Its files, sorted.
    fn files(&self) -> Result<Vec<String>, Failure> {
        let verdict = end(Command::new("find").args([".", "-type", "f"]).current_dir(&self.path))?;
        verdict.status(0)?;
        let mut files: Vec<String> = verdict.stdout().lines().map(str::to_owned).collect();
        files.sort();
        Ok(files)
    }

    /// Cargo in its folder, with the versions of dependencies that this workspace has, none of which is fetched again.
    fn cargo(&self, command: &str) -> Result<Command, Failure> {
        fs::copy(workspace().join("Cargo.lock"), self.path.join("Cargo.lock")).map_err(Failure::start)?;
        let mut cargo = Command::new("cargo");
        cargo.args([command, "--quiet", "--offline", "--target-dir"]).arg(build_dir());
        cargo.current_dir(&self.path);
        Ok(cargo)
    }
}

/// Where the crates are built: not in their own folders, which go, so that the next run finds the kernel built.
fn build_dir() -> PathBuf {
    target_dir().join("new")
}

/// A recipe, called in a folder.
fn just(folder: &Path, recipe: &str) -> Command {
    let mut just = Command::new("just");
    just.arg("--justfile").arg(workspace().join("justfile")).arg(recipe).current_dir(folder);
    just
}

fn end(command: &mut Command) -> Result<Verdict, Failure> {
    let ended = Running::start(command).map_err(Failure::start)?.end(BUILD_LIMIT);
    Verdict::new(command, ended)
}

fn three_files_boot_on_every_host(context: &Context) -> Outcome {
    let made = NewCrate::make("greeter")?;
    let files = made.files()?;
    if files != ["./.cargo/config.toml", "./Cargo.toml", "./src/main.rs"] {
        return Err(Failure::new(format!("manifest, source and settings were expected: {files:?}")));
    }
    end(made.cargo("build")?.arg("--release"))?.status(0)?;
    let linked = build_dir().join("x86_64-unknown-none/release/greeter");
    for lane in context.lanes.present() {
        let boot = context.boot(lane, &linked);
        let greeted = boot.clone().arguments(["Ada", "two words"]).end()?;
        greeted.status(0)?.prints([
            "hello, Ada\nhello, two words\n",
            "INFO  greeter: names: 2, heap in use: ",
            "that took ",
            "audit: clean",
        ])?;
        let greeted = boot.clone().options(["--env", "GREETING=good day"]).arguments(["Ada"]).end()?;
        greeted.status(0)?.prints(["good day, Ada\n"])?;
        let refused = boot.options(["--log", "off"]).arguments(["\n"]).end()?;
        refused.status(1)?;
        if refused.stdout() != "error: \"\\n\" is nobody's name\n" {
            return Err(refused.failure("the application's error was expected, and nothing else"));
        }
    }
    Ok(())
}

/// The runner packs what was linked, and hands on all arguments and the status.
fn cargo_run_boots_with_arguments(context: &Context) -> Outcome {
    let made = NewCrate::make("run-by-cargo")?;
    let greeted = end(made.cargo("run")?.args(["--", "--host", "two words", "--", ""]))?;
    greeted
        .status(1)?
        .prints(["hello, --host\nhello, two words\nhello, --\nerror: \"\" is nobody's name\n"])?;
    let image = build_dir().join("x86_64-unknown-none/debug/run-by-cargo.image");
    fs::metadata(&image)
        .map_err(|error| greeted.failure(format!("there is no {}: {error}", image.display())))?;
    let greeted = end(made.cargo("run")?.args(["--", "two words"]))?;
    greeted.status(0)?.prints(["hello, two words\n"])?;
    boots_from_a_disk(context, &made.path, &image)
}

/// What was packed goes onto a disk, with a variable, under its own name.
fn boots_from_a_disk(context: &Context, folder: &Path, packed: &Path) -> Outcome {
    let packed = packed.display().to_string();
    let options = ["--output", "disk", "--args", "Ada", "--env", "GREETING=good day"];
    end(just(folder, "image").arg(&packed).args(options))?.status(0)?;
    let disk = folder.join("disk");
    for lane in context.lanes.present() {
        context.boot(lane, &disk).end()?.status(0)?.prints(["good day, Ada\n"])?;
    }
    let inspected = tool(&context.artifacts, ["inspect".as_ref(), disk.as_os_str()])?;
    inspected.status(0)?.prints([
        "kernel        run-by-cargo, ",
        "command line  log=info env=GREETING=\"good day\" -- Ada\n",
    ])?;
    Ok(())
}

/// No guest has run, so the status is none of a guest's.
fn crate_that_does_not_build(_: &Context) -> Outcome {
    let made = NewCrate::make("broken")?;
    // What `cargo` needs besides, so that it gets as far as the source.
    made.cargo("build")?;
    fs::write(made.path.join("src/main.rs"), "fn main() { nothing_of_that_name }").map_err(Failure::start)?;
    for recipe in ["run", "image"] {
        let refused = end(just(made.path.parent().unwrap_or(&made.path), recipe).arg("./broken"))?;
        refused.status(VmmStatus::Refused.code())?.complains(["nothing_of_that_name"])?;
    }
    Ok(())
}

fn refusals_are_one_line(_: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    fs::write(folder.path().join("file"), "").map_err(Failure::start)?;
    let inside = workspace().join("tests/inside");
    for (path, reason) in [
        ("file", "not an empty folder"),
        ("2nd", "no name for a crate"),
        ("deps", "another name"),
        (&*inside.to_string_lossy(), "inside Freehold's own workspace"),
    ] {
        refuses(folder.path(), "new", path, 1, reason)?;
    }
    for recipe in ["run", "image"] {
        let refused = VmmStatus::Refused.code().into();
        refuses(folder.path(), recipe, "nothing", refused, "there is no appliance 'nothing'")?;
        refuses(folder.path(), recipe, "./nothing", refused, "there is no file and no crate './nothing'")?;
    }
    if fs::exists(&inside).map_err(Failure::start)? {
        return Err(Failure::new(format!("{} was made", inside.display())));
    }
    Ok(())
}

/// Wants a recipe to refuse a path in one line with this reason.
fn refuses(folder: &Path, recipe: &str, path: &str, status: i32, reason: &str) -> Outcome {
    let refused = end(just(folder, recipe).arg(path))?;
    refused.status(status)?.complains([reason])?;
    if refused.stderr().lines().count() != 1 || !refused.stderr().starts_with(&format!("just {recipe}: ")) {
        return Err(refused.failure("exactly one line on stderr was expected"));
    }
    Ok(())
}

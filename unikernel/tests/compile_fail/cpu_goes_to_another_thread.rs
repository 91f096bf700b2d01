//! The handle of a CPU stays with its thread.

use unikernel::memory::simulation::SimulatedCpu;

fn send(cpu: SimulatedCpu<'static>) {
    std::thread::spawn(move || drop(cpu));
}

fn main() {}

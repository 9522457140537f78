//! No model leaves here with holes in it.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor},
};

use crate::error::Blip2Error;

/// The model, if every parameter of it has its numbers.
///
/// A source of weights that lacks a tensor, or was stopped, leaves the parameter uninitialised: it
/// would be zeros when it is first used, and the model would answer nonsense, or nothing.
///
/// # Errors
///
/// [`Blip2Error::Holes`] with the places of all parameters without numbers.
pub(crate) fn whole<M: Module>(model: M) -> Result<M, Blip2Error> {
    let mut holes = Holes::default();
    model.visit(&mut holes);
    if holes.found.is_empty() {
        return Ok(model);
    }
    let tensors = holes.found;
    Err(Blip2Error::Holes { tensors })
}

#[derive(Default)]
struct Holes {
    path: Vec<String>,
    found: Vec<String>,
}

impl Holes {
    fn check(&mut self, initialized: bool) {
        if !initialized {
            self.found.push(self.path.join("."));
        }
    }
}

impl ModuleVisitor for Holes {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.check(param.is_initialized());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.check(param.is_initialized());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.check(param.is_initialized());
    }
}

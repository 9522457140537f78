//! A function of SQL.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef},
    common::{internal_err, not_impl_err, plan_err},
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
        async_udf::AsyncScalarUDFImpl,
    },
};

use crate::{call::Call, engine::Engine, verb::Verb};

/// One of a model's functions. Where there is no engine it can be planned with and no more.
#[derive(Debug)]
pub(crate) struct Function {
    verb: Verb,
    shape: Vec<usize>,
    signature: Signature,
    engine: Option<Arc<Engine>>,
}

impl Function {
    pub(crate) fn new(
        verb: Verb,
        shape: Vec<usize>,
        samples: bool,
        engine: Option<Arc<Engine>>,
    ) -> Self {
        // The same row gives the same tokens within a query and beyond; a model may be another tomorrow,
        // and what it says is nothing to fold into a plan.
        let volatility = match samples && verb.writes() {
            true => Volatility::Volatile,
            false => Volatility::Stable,
        };
        // Columns come as they are: a cast of pictures would copy them, and one of numbers to texts would
        // hide a mistake.
        let signature = Signature::any(verb.arguments().len(), volatility);
        Self {
            verb,
            shape,
            signature,
            engine,
        }
    }

    /// Where the engine is, by which two functions of one name are told apart.
    fn identity(&self) -> *const Engine {
        let engine = self.engine.as_ref();
        engine.map_or(std::ptr::null(), Arc::as_ptr)
    }

    fn returned(&self) -> FieldRef {
        let returns = self.verb.returns(&self.shape);
        Arc::new(Field::new(self.verb.name(), returns, true))
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.verb == other.verb
            && self.shape == other.shape
            && self.signature == other.signature
            && self.identity() == other.identity()
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.verb.hash(state);
        self.identity().hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.verb.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.verb.returns(&self.shape))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let arguments = self.verb.arguments().iter().zip(args.arg_fields);
        for (place, (argument, field)) in arguments.enumerate() {
            if !argument.takes(field.data_type()) {
                return plan_err!(
                    "{}: argument {}, `{}`, is of type {}; give it {}",
                    self.verb.usage(),
                    place + 1,
                    field.name(),
                    field.data_type(),
                    argument.wanted()
                );
            }
        }
        Ok(self.returned())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        not_impl_err!(
            "{} is evaluated in the list of SELECT and in WHERE: name its result in a subquery first",
            self.verb.name()
        )
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Function {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(engine) = &self.engine else {
            return internal_err!(
                "{} was declared without a model on the machine that computes: start its executor with one",
                self.verb.name()
            );
        };
        let call = Call::new(self.verb, engine.clone(), args)?;
        Ok(ColumnarValue::Array(call.run().await?))
    }
}

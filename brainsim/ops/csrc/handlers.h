// How a function becomes a symbol that `jax.ffi.pycapsule` can hand to XLA.

#ifndef BRAINSIM_HANDLERS_H_
#define BRAINSIM_HANDLERS_H_

#include "xla/ffi/api/ffi.h"

#if defined(_WIN32)
#define BRAINSIM_EXPORT extern "C" __declspec(dllexport)
#else
#define BRAINSIM_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#define BRAINSIM_HANDLER(name, function, inputs)                 \
  BRAINSIM_EXPORT XLA_FFI_Error* name(XLA_FFI_CallFrame* frame); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, brainsim::function, inputs.Ret<xla::ffi::AnyBuffer>());

// The inputs of a handler that shares its work among the threads of XLA begin with these.
#define BRAINSIM_POOL xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()

#endif  // BRAINSIM_HANDLERS_H_

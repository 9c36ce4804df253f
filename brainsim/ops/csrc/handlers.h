// How a function becomes a handler: a symbol that `jax.ffi.pycapsule` can hand to XLA.
//
// BRAINSIM_HANDLER(name, function, attributes...): its operands are the parameters of type `ffi::Any` of the function, in
// their order, and all others there are if one is `ffi::Operands`; its results those of type `ffi::Out` or `ffi::Results`.
// Parameters of type int64_t and `ffi::Span` are attributes, whose names follow in their order. A parameter of another type
// T needs a function read(ffi::Reader&, T*).

#ifndef BRAINSIM_HANDLERS_H_
#define BRAINSIM_HANDLERS_H_

#include <cstring>
#include <initializer_list>
#include <tuple>
#include <type_traits>
#include <utility>

#include "xla.h"

#if defined(_WIN32)
#define BRAINSIM_EXPORT extern "C" __declspec(dllexport)
#else
#define BRAINSIM_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace brainsim::ffi {

// Hands out the parts of a call, one after the other.
class Reader {
 public:
  Reader(const XLA_FFI_CallFrame* frame, const char* const* names) : frame_(*frame), names_(names) {}

  Context context() const { return {frame_.api, frame_.ctx}; }
  void* operand() { return arg_ < frame_.args.size ? frame_.args.args[arg_++] : missing(); }
  void* result() { return ret_ < frame_.rets.size ? frame_.rets.rets[ret_++] : missing(); }
  Operands operands() {
    const Operands all{frame_.args.args + arg_, static_cast<size_t>(frame_.args.size - arg_)};
    arg_ = frame_.args.size;
    return all;
  }
  Results results() {
    const Results all{{frame_.rets.rets + ret_, static_cast<size_t>(frame_.rets.size - ret_)}};
    ret_ = frame_.rets.size;
    return all;
  }
  const char* next_name() { return *names_++; }
  // The attribute of this name and kind; null if there is none.
  void* attribute(const char* name, XLA_FFI_AttrType kind) {
    const XLA_FFI_Attrs& all = frame_.attrs;
    const size_t length = std::strlen(name);
    for (int64_t i = 0; i < all.size; ++i)
      if (all.names[i]->len == length && std::memcmp(all.names[i]->ptr, name, length) == 0 && all.types[i] == kind)
        return all.attrs[i];
    return missing();
  }
  void* missing() {
    complete_ = false;
    return nullptr;
  }
  // Whether nothing was missing, and nothing is left.
  bool complete() const { return complete_ && arg_ == frame_.args.size && ret_ == frame_.rets.size; }

 private:
  const XLA_FFI_CallFrame& frame_;
  const char* const* names_;
  int64_t arg_ = 0, ret_ = 0;
  bool complete_ = true;
};

inline void read(Reader& from, Any* x) { *x = Any(from.operand()); }
inline void read(Reader& from, Out* x) { x->array = Any(from.result()); }
inline void read(Reader& from, Operands* x) { *x = from.operands(); }
inline void read(Reader& from, Results* x) { *x = from.results(); }
inline void read(Reader& from, ThreadPool* x) { *x = ThreadPool(from.context()); }
inline void read(Reader& from, int64_t* x, const char* name) {
  const auto* scalar = static_cast<const XLA_FFI_Scalar*>(from.attribute(name, XLA_FFI_AttrType_SCALAR));
  if (scalar == nullptr || scalar->dtype != XLA_FFI_DataType_S64) return from.missing(), void();
  std::memcpy(x, scalar->value, sizeof(*x));
}
inline void read(Reader& from, int64_t* x) { read(from, x, from.next_name()); }
inline void read(Reader& from, Span* x) {
  const auto* array = static_cast<const XLA_FFI_Array*>(from.attribute(from.next_name(), XLA_FFI_AttrType_ARRAY));
  if (array == nullptr || array->dtype != XLA_FFI_DataType_S64) return from.missing(), void();
  *x = {static_cast<const int64_t*>(array->data), array->size};
}

// What XLA asks when it gets to know a handler: of which version of the interface it is. Nothing here needs more than the
// oldest there is, so a library that was compiled for a newer XLA serves an older one.
inline void introduce(const XLA_FFI_CallFrame* frame) {
  XLA_FFI_Metadata* metadata = reinterpret_cast<XLA_FFI_Metadata_Extension*>(frame->extension_start)->metadata;
  const int there = frame->api->api_version.minor_version;
  metadata->api_version = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_Api_Version);
  metadata->api_version.major_version = XLA_FFI_API_MAJOR;
  metadata->api_version.minor_version = there < XLA_FFI_API_MINOR ? there : XLA_FFI_API_MINOR;
  metadata->traits = 0;
}

template <typename... Parameters, size_t... kIndices>
Error invoke(Reader& reader, Error (*function)(Parameters...), std::index_sequence<kIndices...>) {
  std::tuple<std::decay_t<Parameters>...> values;
  (read(reader, &std::get<kIndices>(values)), ...);
  if (!reader.complete()) return Error::InvalidArgument("operators", "these are not the operands of this one");
  return function(std::get<kIndices>(values)...);
}

template <typename... Parameters>
XLA_FFI_Error* handle(const XLA_FFI_CallFrame* frame, Error (*function)(Parameters...),
                      std::initializer_list<const char*> names) {
  if (frame->extension_start != nullptr && frame->extension_start->type == XLA_FFI_Extension_Metadata)
    return introduce(frame), nullptr;
  Reader reader(frame, names.begin());
  return invoke(reader, function, std::index_sequence_for<Parameters...>()).to_xla(frame->api);
}

}  // namespace brainsim::ffi

#define BRAINSIM_HANDLER(name, function, ...)                        \
  BRAINSIM_EXPORT XLA_FFI_Error* name(XLA_FFI_CallFrame* frame);     \
  XLA_FFI_Error* name(XLA_FFI_CallFrame* frame) {                    \
    return brainsim::ffi::handle(frame, brainsim::function, {__VA_ARGS__}); \
  }

#endif  // BRAINSIM_HANDLERS_H_

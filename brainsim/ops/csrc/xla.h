// XLA's C interface as the handlers look at it: arrays, attributes, threads, errors. handlers.h makes handlers of functions.
//
// XLA comes with a C++ header for this, which takes longer to compile than all that is here.

#ifndef BRAINSIM_XLA_H_
#define BRAINSIM_XLA_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "xla/ffi/api/c_api.h"

namespace brainsim::ffi {

using DataType = XLA_FFI_DataType;
constexpr DataType PRED = XLA_FFI_DataType_PRED, S32 = XLA_FFI_DataType_S32, U32 = XLA_FFI_DataType_U32,
                   BF16 = XLA_FFI_DataType_BF16, F32 = XLA_FFI_DataType_F32, F64 = XLA_FFI_DataType_F64,
                   C64 = XLA_FFI_DataType_C64, C128 = XLA_FFI_DataType_C128;

// The bytes of a number; 0 of a type that no operator takes.
inline size_t bytes_of(DataType type) {
  switch (type) {
    case PRED:
    case XLA_FFI_DataType_S8:
    case XLA_FFI_DataType_U8:
      return 1;
    case BF16:
    case XLA_FFI_DataType_F16:
    case XLA_FFI_DataType_S16:
    case XLA_FFI_DataType_U16:
      return 2;
    case F32:
    case S32:
    case U32:
      return 4;
    case F64:
    case C64:
    case XLA_FFI_DataType_S64:
    case XLA_FFI_DataType_U64:
      return 8;
    case C128:
      return 16;
    default:
      return 0;
  }
}

// Fills the first fields of a struct that is passed to XLA.
template <typename Arguments>
Arguments arguments(size_t size) {
  Arguments a{};
  a.struct_size = size;
  return a;
}
#define BRAINSIM_XLA_ARGUMENTS(type) brainsim::ffi::arguments<type>(type##_STRUCT_SIZE)

// What went wrong, if anything did: whose fault it is, and what it is. Both are literals.
class Error {
 public:
  static Error Success() { return {XLA_FFI_Error_Code_OK, "", ""}; }
  static Error InvalidArgument(const char* whose, const char* what) {
    return {XLA_FFI_Error_Code_INVALID_ARGUMENT, whose, what};
  }
  static Error Internal(const char* whose, const char* what) { return {XLA_FFI_Error_Code_INTERNAL, whose, what}; }
  static Error ResourceExhausted(const char* whose, const char* what) {
    return {XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, whose, what};
  }

  bool failure() const { return code_ != XLA_FFI_Error_Code_OK; }

  // XLA's own form of it, null if there is none.
  XLA_FFI_Error* to_xla(const XLA_FFI_Api* api) const {
    if (!failure()) return nullptr;
    char message[256];
    std::snprintf(message, sizeof(message), "brainsim %s: %s", whose_, what_);
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_Error_Create_Args);
    a.message = message;
    a.errc = code_;
    return api->XLA_FFI_Error_Create(&a);
  }

 private:
  Error(XLA_FFI_Error_Code code, const char* whose, const char* what) : code_(code), whose_(whose), what_(what) {}

  XLA_FFI_Error_Code code_;
  const char *whose_, *what_;
};

// Numbers, one after the other.
struct Span {
  const int64_t* first;
  size_t n;

  size_t size() const { return n; }
  const int64_t* begin() const { return first; }
  const int64_t* end() const { return first + n; }
  int64_t operator[](size_t i) const { return first[i]; }
};

// An array, of any type and shape.
class Any {
 public:
  Any() = default;
  explicit Any(void* buffer) : buffer_(static_cast<const XLA_FFI_Buffer*>(buffer)) {}

  DataType element_type() const { return buffer_->dtype; }
  Span dimensions() const { return {buffer_->dims, static_cast<size_t>(buffer_->rank)}; }
  void* untyped_data() const { return buffer_->data; }
  size_t size_bytes() const { return element_count() * bytes_of(element_type()); }
  size_t element_count() const {
    size_t product = 1;
    for (const int64_t size : dimensions()) product *= static_cast<size_t>(size);
    return product;
  }

 private:
  const XLA_FFI_Buffer* buffer_ = nullptr;
};

// A result: an array to fill.
struct Out {
  Any array;

  const Any& operator*() const { return array; }
  const Any* operator->() const { return &array; }
};

// As many arrays as there are: all that follow, of a handler's operands and of its results.
struct Operands {
  void** buffers = nullptr;
  size_t n = 0;

  size_t size() const { return n; }
  Any operator[](size_t i) const { return Any(buffers[i]); }
};
struct Results : Operands {};

// What XLA's runtime does for a call.
struct Context {
  const XLA_FFI_Api* api;
  XLA_FFI_ExecutionContext* run;

  // Whether a function of the interface did what it was asked for.
  bool done(XLA_FFI_Error* error) const {
    if (error == nullptr) return true;
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_Error_Destroy_Args);
    a.error = error;
    api->XLA_FFI_Error_Destroy(&a);
    return false;
  }
};

// XLA's threads.
class ThreadPool {
 public:
  ThreadPool() = default;
  explicit ThreadPool(Context context) : context_(context) {}

  int64_t num_threads() const {
    int64_t threads = 0;
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_ThreadPool_NumThreads_Args);
    a.ctx = context_.run;
    a.num_threads = &threads;
    return context_.done(context_.api->XLA_FFI_ThreadPool_NumThreads(&a)) ? threads : 0;
  }

  // Calls task(data) on another thread, or at once if there is none.
  void schedule(XLA_FFI_Task* task, void* data) const {
    auto a = BRAINSIM_XLA_ARGUMENTS(XLA_FFI_ThreadPool_Schedule_Args);
    a.ctx = context_.run;
    a.task = task;
    a.data = data;
    if (!context_.done(context_.api->XLA_FFI_ThreadPool_Schedule(&a))) task(data);
  }

 private:
  Context context_;
};

}  // namespace brainsim::ffi

#endif  // BRAINSIM_XLA_H_

// What every door shares: reading arguments, and turning what the kernel said into a number.
//
// The contract of all doors: a wrong argument *type* throws a TypeError (a bug in the caller); a wrong *value* (a range
// outside its view, a bad alignment) is -EINVAL, as the kernel would say it; a refusal of the kernel is -errno.
#pragma once

#include <napi.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

namespace pollmode {

// The bytes under a typed array. Good for the length of one call: the caller's argument keeps the memory alive.
struct View {
  uint8_t* data = nullptr;
  size_t length = 0;

  bool holds(double offset, double size) const {
    return offset >= 0 && size >= 0 && offset + size <= static_cast<double>(length);
  }
};

// Reads the arguments of one call. After the first wrong one it throws a TypeError and `failed()` stays true: read them
// all, then ask once.
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info), env_(info.Env()) {}

  int32_t Int(size_t index);
  uint32_t Unsigned(size_t index);
  /** A whole number from 0 to 2^53, as a double: offsets and lengths. */
  double Size(size_t index);
  double Double(size_t index);
  bool Bool(size_t index);
  /** `fits` is false for one that is negative or has more than 64 bits. */
  uint64_t Big(size_t index, bool* fits);
  std::string String(size_t index);
  Napi::Function Function(size_t index);
  View Bytes(size_t index) { return Typed(index, napi_uint8_array, "a Uint8Array"); }
  View Words(size_t index) { return Typed(index, napi_uint32_array, "a Uint32Array"); }
  View Ints(size_t index) { return Typed(index, napi_int32_array, "an Int32Array"); }
  View Doubles(size_t index) { return Typed(index, napi_float64_array, "a Float64Array"); }
  View BytesOrNull(size_t index) { return Absent(index) ? View{} : Bytes(index); }
  /** undefined, null, or not given. */
  bool Absent(size_t index) const;
  bool IsNumber(size_t index) const;
  /** Stores the address of each [at, Uint8Array] of argument `index` into `structure`; false when one is outside it. */
  bool Fix(size_t index, View structure);

  bool failed() const { return failed_; }
  Napi::Value Undefined() const { return env_.Undefined(); }
  Napi::Value Number(double value) const { return Napi::Number::New(env_, value); }
  /** What a system call returned: the number, or -errno. */
  Napi::Value Result(long result) const { return Number(static_cast<double>(result < 0 ? -errno : result)); }

 private:
  View Typed(size_t index, napi_typedarray_type type, const char* what);
  void Fail(size_t index, const char* what);

  const Napi::CallbackInfo& info_;
  Napi::Env env_;
  bool failed_ = false;
};

// What one environment (the main thread, a worker) has of the addon, for as long as it lives.
struct Environment {
  // Calls of the addon's functions, all of them: a data path that makes none can show it.
  uint64_t calls = 0;
  // memory.cc's.
  std::shared_ptr<void> guards;
};

// Each door adds its functions to the addon's exports.
void InitMemory(Napi::Env env, Napi::Object exports);
void InitFile(Napi::Env env, Napi::Object exports);
void InitSocket(Napi::Env env, Napi::Object exports);
void InitBpf(Napi::Env env, Napi::Object exports);
void InitThread(Napi::Env env, Napi::Object exports);
void InitWatch(Napi::Env env, Napi::Object exports);

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value Counted(const Napi::CallbackInfo& info) {
  info.Env().GetInstanceData<Environment>()->calls++;
  return Function(info);
}

template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Counted<Function>>(env, name));
}

}  // namespace pollmode

// The addon's entry, once per environment (the main thread and each worker), and the reading of arguments.
#include "common.h"

namespace pollmode {

int32_t Arguments::Int(size_t index) {
  int32_t value = 0;
  if (napi_get_value_int32(env_, info_[index], &value) != napi_ok) Fail(index, "a number");
  return value;
}

uint32_t Arguments::Unsigned(size_t index) {
  uint32_t value = 0;
  if (napi_get_value_uint32(env_, info_[index], &value) != napi_ok) Fail(index, "a number");
  return value;
}

double Arguments::Double(size_t index) {
  double value = 0;
  if (napi_get_value_double(env_, info_[index], &value) != napi_ok) Fail(index, "a number");
  return value;
}

double Arguments::Size(size_t index) {
  const double value = Double(index);
  const bool whole = value >= 0 && value <= 9007199254740992.0 && std::floor(value) == value;
  if (!failed_ && !whole) Fail(index, "a whole number that is not negative");
  return whole ? value : 0;
}

bool Arguments::Bool(size_t index) {
  bool value = false;
  if (napi_get_value_bool(env_, info_[index], &value) != napi_ok) Fail(index, "a boolean");
  return value;
}

uint64_t Arguments::Big(size_t index, bool* fits) {
  uint64_t value = 0;
  if (napi_get_value_bigint_uint64(env_, info_[index], &value, fits) != napi_ok) Fail(index, "a bigint");
  return value;
}

std::string Arguments::String(size_t index) {
  if (!info_[index].IsString()) {
    Fail(index, "a string");
    return {};
  }
  return info_[index].As<Napi::String>().Utf8Value();
}

Napi::Function Arguments::Function(size_t index) {
  if (!info_[index].IsFunction()) {
    Fail(index, "a function");
    return {};
  }
  return info_[index].As<Napi::Function>();
}

bool Arguments::Absent(size_t index) const {
  return info_[index].IsUndefined() || info_[index].IsNull();
}

bool Arguments::IsNumber(size_t index) const { return info_[index].IsNumber(); }

// The ArrayBuffer is not asked for: Node 20 has no way to hand out a SharedArrayBuffer, and refuses when it is one.
static bool ReadView(napi_env env, napi_value value, napi_typedarray_type wanted, size_t element, View* view) {
  bool typed = false;
  if (napi_is_typedarray(env, value, &typed) != napi_ok || !typed) return false;
  napi_typedarray_type type;
  size_t count = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &count, &data, nullptr, nullptr) != napi_ok) return false;
  if (type != wanted) return false;
  *view = View{static_cast<uint8_t*>(data), count * element};
  return true;
}

View Arguments::Typed(size_t index, napi_typedarray_type type, const char* what) {
  const size_t element = type == napi_uint8_array ? 1 : type == napi_float64_array ? 8 : 4;
  View view;
  if (!ReadView(env_, info_[index], type, element, &view)) Fail(index, what);
  return view;
}

bool Arguments::Fix(size_t index, View structure) {
  if (failed_ || Absent(index)) return true;
  if (!info_[index].IsArray()) {
    Fail(index, "an array of [offset, Uint8Array]");
    return true;
  }
  const Napi::Array list = info_[index].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Value entry = list.Get(i);
    if (!entry.IsArray()) {
      Fail(index, "an array of [offset, Uint8Array]");
      return true;
    }
    const Napi::Array pair = entry.As<Napi::Array>();
    double at = -1;
    View target;
    if (napi_get_value_double(env_, pair.Get(0u), &at) != napi_ok ||
        !ReadView(env_, pair.Get(1u), napi_uint8_array, 1, &target)) {
      Fail(index, "an array of [offset, Uint8Array]");
      return true;
    }
    if (!structure.holds(at, 8) || std::floor(at) != at) return false;
    const uint64_t address = reinterpret_cast<uintptr_t>(target.data);
    std::memcpy(structure.data + static_cast<size_t>(at), &address, sizeof address);
  }
  return true;
}

void Arguments::Fail(size_t index, const char* what) {
  if (failed_) return;
  failed_ = true;
  if (env_.IsExceptionPending()) return;
  const std::string message = "argument " + std::to_string(index) + " must be " + what;
  Napi::TypeError::New(env_, message).ThrowAsJavaScriptException();
}

static Napi::Value Calls(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(info.Env().GetInstanceData<Environment>()->calls));
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment());
  InitMemory(env, exports);
  InitFile(env, exports);
  InitSocket(env, exports);
  InitBpf(env, exports);
  InitThread(env, exports);
  InitWatch(env, exports);
  Export<Calls>(env, exports, "calls");
  return exports;
}

NODE_API_MODULE(pollmode, Init)

}  // namespace pollmode

// bpf(2). The C library has no wrapper for it.
#include "common.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace pollmode {
namespace {

Napi::Value Bpf(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int command = arguments.Int(0);
  const View attribute = arguments.Bytes(1);
  const bool fixed = arguments.Fix(2, attribute);
  if (arguments.failed()) return arguments.Undefined();
  if (!fixed) return arguments.Number(-EINVAL);
  return arguments.Result(syscall(SYS_bpf, command, attribute.data, static_cast<unsigned>(attribute.length)));
}

}  // namespace

void InitBpf(Napi::Env env, Napi::Object exports) { Export<Bpf>(env, exports, "bpf"); }

}  // namespace pollmode

// Descriptors watched by the event loop of the calling environment: a callback when one becomes readable.
#include "common.h"

#include <uv.h>

#include <unordered_map>

namespace pollmode {
namespace {

class Watches;

// One watched descriptor. libuv owns the memory from uv_poll_init until its close callback has run.
struct Watch {
  uv_poll_t handle = {};
  Watches* all = nullptr;
  Napi::FunctionReference callback;
};

// One environment's. Its end waits until libuv has let go of every handle.
class Watches {
 public:
  explicit Watches(napi_env env) : env_(env), context_(env, "pollmode:watch") {
    napi_add_async_cleanup_hook(env, [](napi_async_cleanup_hook_handle hook, void* mine) {
      static_cast<Watches*>(mine)->End(hook);
    }, this, nullptr);
  }

  // Returns a number that names it, or -errno.
  int Add(int fd, Napi::Function callback) {
    uv_loop_t* loop = nullptr;
    if (ending_ || napi_get_uv_event_loop(env_, &loop) != napi_ok) return -EINVAL;
    auto* watch = new Watch();
    const int refused = uv_poll_init(loop, &watch->handle, fd);
    if (refused != 0) {
      delete watch;
      return refused;  // libuv's codes are -errno on Linux
    }
    watch->handle.data = watch;
    watch->all = this;
    watch->callback = Napi::Persistent(callback);
    const int id = next_++;
    watches_.emplace(id, watch);
    return id;
  }

  // Calls back once, as soon as it is readable.
  int Arm(int id) {
    const auto found = watches_.find(id);
    if (found == watches_.end()) return -EBADF;
    return uv_poll_start(&found->second->handle, UV_READABLE | UV_DISCONNECT, Fire);
  }

  int Remove(int id) {
    const auto found = watches_.find(id);
    if (found == watches_.end()) return -EBADF;
    Close(found->second);
    watches_.erase(found);
    return 0;
  }

 private:
  static void Fire(uv_poll_t* handle, int, int) {
    auto* watch = static_cast<Watch*>(handle->data);
    uv_poll_stop(handle);
    const Napi::Env env(watch->all->env_);
    const Napi::HandleScope scope(env);
    // The callback may remove the watch: its function is held here meanwhile.
    const Napi::Function callback = watch->callback.Value();
    callback.MakeCallback(env.Global(), {}, watch->all->context_);
    if (!env.IsExceptionPending()) return;
    napi_fatal_exception(env, env.GetAndClearPendingException().Value());
  }

  void Close(Watch* watch) {
    watch->callback.Reset();
    closing_++;
    uv_close(reinterpret_cast<uv_handle_t*>(&watch->handle), [](uv_handle_t* handle) {
      auto* closed = static_cast<Watch*>(handle->data);
      Watches* all = closed->all;
      delete closed;
      all->closing_--;
      all->Finish();
    });
  }

  void End(napi_async_cleanup_hook_handle hook) {
    ending_ = hook;
    for (const auto& each : watches_) Close(each.second);
    watches_.clear();
    Finish();
  }

  void Finish() {
    if (ending_ == nullptr || closing_ > 0) return;
    napi_remove_async_cleanup_hook(ending_);
    delete this;
  }

  napi_env env_;
  Napi::AsyncContext context_;
  std::unordered_map<int, Watch*> watches_;
  napi_async_cleanup_hook_handle ending_ = nullptr;
  int closing_ = 0;
  int next_ = 1;
};

Watches* Mine(const Napi::CallbackInfo& info) { return static_cast<Watches*>(info.Data()); }

Napi::Value WatchReadable(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const Napi::Function callback = arguments.Function(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Number(Mine(info)->Add(fd, callback));
}

Napi::Value Rearm(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int id = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Number(Mine(info)->Arm(id));
}

Napi::Value Unwatch(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int id = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Number(Mine(info)->Remove(id));
}

}  // namespace

void InitWatch(Napi::Env env, Napi::Object exports) {
  auto* watches = new Watches(env);
  exports.Set("watch", Napi::Function::New<WatchReadable>(env, "watch", watches));
  exports.Set("rearm", Napi::Function::New<Rearm>(env, "rearm", watches));
  exports.Set("unwatch", Napi::Function::New<Unwatch>(env, "unwatch", watches));
}

}  // namespace pollmode

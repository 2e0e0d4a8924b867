// Sockets of every family: AF_XDP, AF_PACKET, netlink, inet.
#include "common.h"

#include <sys/socket.h>

namespace pollmode {
namespace {

const struct sockaddr* Name(View address) { return reinterpret_cast<const struct sockaddr*>(address.data); }
socklen_t Length(View view) { return static_cast<socklen_t>(view.length); }

Napi::Value Socket(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int domain = arguments.Int(0);
  const int type = arguments.Int(1);
  const int protocol = arguments.Int(2);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(socket(domain, type | SOCK_CLOEXEC, protocol));
}

Napi::Value Bind(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View address = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(bind(fd, Name(address), Length(address)));
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View address = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(connect(fd, Name(address), Length(address)));
}

Napi::Value SetOption(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int level = arguments.Int(1);
  const int name = arguments.Int(2);
  const View value = arguments.Bytes(3);
  const bool fixed = arguments.Fix(4, value);
  if (arguments.failed()) return arguments.Undefined();
  if (!fixed) return arguments.Number(-EINVAL);
  return arguments.Result(setsockopt(fd, level, name, value.data, Length(value)));
}

Napi::Value GetOption(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int level = arguments.Int(1);
  const int name = arguments.Int(2);
  const View value = arguments.Bytes(3);
  if (arguments.failed()) return arguments.Undefined();
  socklen_t length = Length(value);
  const int result = getsockopt(fd, level, name, value.data, &length);
  return arguments.Result(result < 0 ? -1 : static_cast<long>(length));
}

Napi::Value Send(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.BytesOrNull(1);
  const int flags = arguments.Int(2);
  const View address = arguments.BytesOrNull(3);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(sendto(fd, bytes.data, bytes.length, flags, Name(address), Length(address)));
}

Napi::Value Receive(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.BytesOrNull(1);
  const int flags = arguments.Int(2);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(recvfrom(fd, bytes.data, bytes.length, flags, nullptr, nullptr));
}

}  // namespace

void InitSocket(Napi::Env env, Napi::Object exports) {
  Export<Socket>(env, exports, "socket");
  Export<Bind>(env, exports, "bind");
  Export<Connect>(env, exports, "connect");
  Export<SetOption>(env, exports, "setsockopt");
  Export<GetOption>(env, exports, "getsockopt");
  Export<Send>(env, exports, "send");
  Export<Receive>(env, exports, "recv");
}

}  // namespace pollmode

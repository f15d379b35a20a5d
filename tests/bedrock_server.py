"""A scripted Bedrock on loopback: Converse, and ConverseStream in AWS's own binary event stream.

    with BedrockServer() as server:
        client = open_client(region="eu-west-1", profile=None, endpoint_url=server.url, timeout_s=5)

It takes what `ModelServer` takes: faults, delays, answers. An error's `code` is AWS's name for it; without
one it is made of the status. Encoding: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
"""

import asyncio
import json
import struct
import urllib.parse
import zlib

from tests.model_server import Fault, ModelServer, Payload, cut_pieces, write, write_chunk, write_stream_head

_STRING = 7  # the type of a header's value
_CODES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def encode_frame(headers: dict[str, str], value: Payload) -> bytes:
    """Return one frame: lengths and their CRC, headers, payload, and the CRC of all that."""
    packed = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(text)) + text.encode()
        for name, text in headers.items()
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack("!II", 4 + 4 + 4 + len(packed) + len(payload) + 4, len(packed))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack("!I", zlib.crc32(message))


def encode_event(kind: str, value: Payload) -> bytes:
    """Return the frame of an event."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, value)


def encode_error(kind: str, message: str) -> bytes:
    """Return the frame of an error in the middle of a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, {"message": message})


class BedrockServer(ModelServer):
    """The server; `chats` holds calls with their `modelId`, as `model`, and `messages` as plain text."""

    async def serve_path(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        _, _, model, operation = path.split("/", 3)
        payload = json.loads(body)
        texts = [part["text"] for part in payload.get("system", [])]
        messages = [{"role": "system", "content": text} for text in texts]
        for message in payload["messages"]:
            text = "".join(part["text"] for part in message["content"])
            messages.append({"role": message["role"], "content": text})
        asked = {**payload, "model": urllib.parse.unquote(model), "messages": messages}
        asked["stream"] = operation == "converse-stream"
        return await self.chat(asked, writer, self._stream if asked["stream"] else self._converse)

    def write_error(self, fault: Fault, writer: asyncio.StreamWriter) -> None:
        """Write an error as AWS does."""
        headers = {
            "x-amzn-ErrorType": f"{fault.code or _CODES.get(fault.status, 'Unknown')}:http://internal/"
        }
        body = json.dumps({"message": fault.error}).encode()
        write(writer, fault.status, body, {**fault.headers, **headers})

    async def _converse(self, payload: Payload, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        content, read, written = self.compose(payload, fault)
        block: Payload = {"text": content}
        if "toolConfig" in payload:
            name = payload["toolConfig"]["toolChoice"]["tool"]["name"]
            block = {"toolUse": {"toolUseId": "t1", "name": name, "input": json.loads(content)}}
        value = {
            "output": {"message": {"role": "assistant", "content": [block]}},
            "stopReason": _REASONS.get(fault.done_reason, fault.done_reason),
            "usage": {"inputTokens": read, "outputTokens": written, "totalTokens": read + written},
            "metrics": {"latencyMs": 1},
        }
        write(writer, 200, json.dumps(value).encode(), fault.headers)
        await writer.drain()
        return True

    async def _stream(self, payload: Payload, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        content, read, written = self.compose(payload, fault)
        write_stream_head(writer, "application/vnd.amazon.eventstream")
        await write_chunk(writer, encode_event("messageStart", {"role": "assistant"}))
        for number, piece in enumerate(cut_pieces(content, endless=fault.endless)):
            await asyncio.sleep(fault.trickle_s)
            if number == fault.drop_after:
                if fault.code:
                    await write_chunk(writer, encode_error(fault.code, fault.error))
                    writer.write(b"0\r\n\r\n")
                await writer.drain()
                return False
            delta: Payload = {"toolUse": {"input": piece}} if "toolConfig" in payload else {"text": piece}
            event = encode_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})
            # In two parts, as the network brings them.
            await write_chunk(writer, event[:20])
            await write_chunk(writer, event[20:])
        await write_chunk(writer, encode_event("contentBlockStop", {"contentBlockIndex": 0}))
        reason = _REASONS.get(fault.done_reason, fault.done_reason)
        await write_chunk(writer, encode_event("messageStop", {"stopReason": reason}))
        usage = {"inputTokens": read, "outputTokens": written, "totalTokens": read + written}
        await write_chunk(writer, encode_event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

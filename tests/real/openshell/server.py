"""Answers OpenShell's health call, without TLS: a backend. The address is the argument; it says when it listens."""

import sys
from concurrent import futures

import grpc
from openshell._proto import openshell_pb2, openshell_pb2_grpc


class Server(openshell_pb2_grpc.OpenShellServicer):
    def Health(self, request, context):
        fields = {key: value for key, value in context.invocation_metadata()}
        # The gateway says who is asking; nothing else could know.
        version = fields.get("x-portcullis-user", "nobody")
        return openshell_pb2.HealthResponse(status=openshell_pb2.SERVICE_STATUS_HEALTHY, version=version)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
openshell_pb2_grpc.add_OpenShellServicer_to_server(Server(), server)
server.add_insecure_port(sys.argv[1])
server.start()
print("listening", flush=True)
server.wait_for_termination()
